# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What PostgreSQL, the C library and the shell say in other languages, in English: signatures know that (and German and French).

Their own translations (the .po files of PostgreSQL 15, glibc 2.36, bash 5.2), of what a known issue looks for. ``NAME`` stands for a name.
"""

from __future__ import annotations

import functools
import re

from typing import Dict, Iterator, List, Match, NamedTuple

from ansible_collections.fediops.mastodon.plugins.module_utils._languages_postgresql import MESSAGES
from ansible_collections.fediops.mastodon.plugins.module_utils._signatures import literals

_NAME = r"[«\"\u201c]?[ \u00a0]?([^\s«»\"\u201c\u201d,:]{1,120})(?:[ \u00a0]?»|[\"\u201d])?"
_SAID = (  # English; Japanese, Chinese, Korean, Russian, Spanish, Italian, for the C library and the shell a few more
    (
        'relation "NAME" does not exist',
        r"リレーションNAMEは存在しません|关系 NAME 不存在|NAME 이름의 릴레이션\(relation\)이 없습니다"
        "|отношение NAME не существует|no existe la relación NAME|la relazione NAME non esiste",
    ),
    (
        'column "NAME" does not exist',
        "列NAMEは存在しません|列 NAME 不存在|NAME 이름의 칼럼은 없습니다|NAME 칼럼 없음|столбец NAME не существует"
        "|no existe la columna NAME|la colonna NAME non esiste",
    ),
    (
        'role "NAME" does not exist',
        r"ロールNAMEは存在しません|角色 NAME 不存在|NAME 롤\(role\) 없음|роль NAME не существует|no existe el rol NAME"
        "|il ruolo NAME non esiste",
    ),
    (
        'database "NAME" does not exist',
        "データベースNAMEは存在しません|数据库 NAME 不存在|NAME 데이터베이스 없음|база данных NAME не существует"
        "|no existe la base de datos NAME|il database NAME non esiste",
    ),
    (
        'Peer authentication failed for user "NAME"',
        r"ユーザー\s?NAMEで対向\(peer\)認証に失敗しました|用户 NAME 的对等认证失败|사용자 NAME의 peer 인증을 실패했습니다"
        r"|пользователь NAME не прошёл проверку подлинности \(Peer\)|la autentificaci.{0,2}n Peer fall.{0,2} para el usuario NAME"
        "|Autenticazione Peer fallita per l'utente NAME",
    ),
    (
        'password authentication failed for user "NAME"',
        r"ユーザー\s?NAMEのパスワード認証に失敗しました|用户 NAME 的密码认证失败"
        r"|사용자 NAME의 password 인증을 실패했습니다|пользователь NAME не прошёл проверку подлинности \(по паролю\)"
        "|la autentificaci.{0,2}n password fall.{0,2} para el usuario NAME|autenticazione con password fallita per l'utente NAME",
    ),
    (
        "no pg_hba.conf entry for",
        r"pg_hba\.conf ?にホスト.{1,200}用のエントリがありません|没有适用于主机.{1,200}的 pg_hba\.conf 条目"
        r"|연결에 대한 설정이 pg_hba\.conf 파일에 없습니다|в pg_hba\.conf нет записи|no hay una línea en pg_hba\.conf para"
        r"|nessuna voce in pg_hba\.conf per",
    ),
    (
        "sorry, too many clients already",
        "現在クライアント数が多すぎます|客户端连接过多|최대 동시 접속자 수를 초과했습니다"
        "|извините, уже слишком много клиентов|lo siento, ya tenemos demasiados clientes"
        "|spiacente, troppi client già connessi",
    ),
    (
        "remaining connection slots are reserved",
        "残りの(?:接続スロット|コネクションスロット)は|剩余连接槽位保留给|남은 연결 슬롯은"
        "|оставшиеся слоты подключений зарезервированы|las conexiones restantes están reservadas"
        "|i rimanenti slot di connessione sono riservati",
    ),
    (
        "the database system is starting up",
        "データベースシステムは起動処理中です|数据库系统正在启动|데이터베이스 시스템이 새로 가동 중입니다"
        "|система баз данных запускается|el sistema de base de datos está iniciándose|il database si sta avviando",
    ),
    (
        "the database system is shutting down",
        "データベースシステムはシャットダウンしています|数据库系统正在关闭|데이터베이스 시스템이 중지 중입니다"
        "|система баз данных останавливается|el sistema de base de datos está apagándose|il database si sta spegnendo",
    ),
    (
        "the database system is in recovery mode",
        "データベースシステムはリカバリモードです|数据库系统在恢复模式中|데이터베이스 시스템이 자동 복구 작업 중입니다"
        "|система баз данных в режиме восстановления|el sistema de base de datos está en modo de recuperación"
        "|il database è in modalità di ripristino",
    ),
    (
        "the database system is not yet accepting connections",
        "データベースシステムはまだ接続を受け付けていません|数据库系统尚未接受连接"
        "|해당 데이터베이스 시스템은 아직 접속을 허용하지|система БД ещё не принимает подключения"
        "|el sistema de bases de datos aún no está aceptando conexiones"
        "|il sistema di database non accetta ancora connessioni",
    ),
    (
        "database system was interrupted",
        "データベースシステムは中断されました|数据库系统曾中断|데이터베이스 시스템이 비정상적으로 종료되었음"
        "|работа системы БД была прервана|el sistema de bases de datos fue interrumpido|il database è stato interrotto",
    ),
    (
        "database files are incompatible with server",
        "データベースファイルがサーバーと互換性がありません|数据库文件和服务器不兼容"
        "|데이터베이스 파일들이 서버와 호환성이 없습니다|файлы базы данных несовместимы с сервером"
        "|los archivos de base de datos son incompatibles con el servidor"
        "|i file del database sono incompatibili col server",
    ),
    (
        'could not create unique index "NAME"',
        "一意インデックスNAMEを作成できませんでした|无法创建唯一索引 NAME|NAME 고유 인덱스를 만들 수 없음"
        "|создать уникальный индекс NAME не удалось|no se pudo crear el índice único NAME"
        "|creazione dell'indice univoco NAME fallita",
    ),
    (
        'duplicate key value violates unique constraint "NAME"',
        "重複(?:した)?キー値?は一意性制約NAME(?:に違反しています|違反となります)|重复键值违反唯一约束 ?NAME"
        "|중복된 키 값이 NAME 고유 제약 조건을 위반함|повторяющееся значение ключа нарушает ограничение уникальности NAME"
        "|llave duplicada viola restricción de unicidad NAME|un valore chiave duplicato viola il vincolo univoco NAME",
    ),
    (
        'prepared statement "NAME" already exists',
        "準備された文NAMEはすでに存在します|预备语句 NAME 已存在|подготовленный оператор NAME уже существует"
        "|la sentencia preparada NAME ya existe|l'istruzione preparata NAME esiste già",
    ),
    (
        'prepared statement "NAME" does not exist',
        "準備された文NAMEは存在しません|预备语句 NAME 不存在|подготовленный оператор NAME не существует"
        "|no existe la sentencia preparada NAME|l'istruzione preparata NAME non esiste",
    ),
    (
        "has no equivalent in encoding",
        "で等価な文字を持ちません|中没有对应字符|인코딩에는 없습니다|нет эквивалента в|no tiene equivalente en la codificación"
        "|non ha un equivalente nella codifica|não tem equivalente na codificação",
    ),
    (
        "canceling statement due to statement timeout",
        "ステートメントのタイムアウトのためステートメントをキャンセルしています|由于语句执行超时，正在取消语句"
        "|명령실행시간 초과로 작업을 취소합니다|выполнение оператора отменено из-за тайм-аута"
        "|cancelando la sentencia debido a que se agotó el tiempo de espera"
        "|annullamento dell'istruzione a causa di timeout",
    ),
    (
        "terminating connection due to administrator command",
        "管理者コマンドにより接続を終了しています|由于管理员命令，正在终止连接|관리자 요청에 의해서 연결을 끝냅니다"
        "|закрытие подключения по команде администратора|terminando la conexión debido a una orden del administrador"
        "|interruzione della connessione su comando dell'amministratore",
    ),
    (
        "(PID 0) was terminated by signal",
        r"\(PID \d+\)はシグナル\d+で終了しました|（PID \d+）被信号 ?\d+ 终止"
        r"|\(PID \d+\) 프로세스가 \d+번 시그널을 받아 종료됨|\(PID \d+\) был завершён по сигналу"
        r"|\(PID \d+\) fue terminado por una señal|\(PID \d+\) è stato terminato dal segnale",
    ),
    (
        "cached plan must not change result type",
        "キャッシュした実行計画は結果型を変更してはなりません|缓存的计划不得更改结果类型"
        "|в кешированном плане не должен изменяться тип результата"
        "|el plan almacenado no debe cambiar el tipo de resultado",
    ),
    (
        "connection to server failed: ",
        "サーバーへの接続に失敗しました: |连接到(?:服务器|套接字) .{1,80}失败: |서버에? 접속 할 수 없음: "
        "|подключиться к серверу.{1,80} не удалось: |falló la conexión al servidor en .{1,80}: "
        "|connessione al server su.{1,80} non riuscita: ",
    ),
    (
        "could not translate host name",
        "ホスト名NAMEをアドレスに変換できませんでした|无法将主机名 NAME 解析为地址"
        "|преобразовать имя NAME в адрес не удалось|no se pudo traducir el nombre NAME a una dirección"
        "|conversione del nome host NAME in indirizzo fallita",
    ),
    (
        "No space left on device",
        "デバイスに空き領域がありません|设备上没有空间|장치에 남은 공간이 없음|На устройстве не осталось свободного места"
        "|No queda espacio en el dispositivo|Não há espaço disponível no dispositivo|Spazio esaurito sul device"
        "|Brak miejsca na urządzeniu|Geen ruimte meer over op apparaat"
        "|Auf dem Gerät ist kein Speicherplatz mehr verfügbar|Aucun espace disponible sur le périphérique",
    ),
    (
        "Connection refused",
        "接続を拒否されました|拒绝连接|연결이 거부됨|В соединении отказано|Conexión rehusada|Conexão recusada"
        "|Connessione rifiutata|Połączenie odrzucone|Verbinding is geweigerd",
    ),
    (
        "No such file or directory",
        "そのようなファイルやディレクトリはありません|没有那个文件或目录|그런 파일이나 디렉터리가 없습니다"
        "|Нет такого файла или каталога|No existe el (?:fichero|archivo) o el directorio|Arquivo ou diretório inexistente"
        "|File o directory non esistente|Nie ma takiego pliku ani katalogu|Bestand of map bestaat niet",
    ),
    (
        "Permission denied",
        "許可がありません|权限不够|허가 거부|Отказано в доступе|Permiso denegado|Permissão negada|Permesso negato"
        "|Brak dostępu|Toegang geweigerd",
    ),
    (
        "Too many open files",
        "(?:開いているファイルが多すぎます|ファイルを開きすぎです)|打开的文件过多|열린 파일이 너무 많음"
        "|Слишком много открытых файлов|Demasiados (?:ficheros|archivos) abiertos|Muitos arquivos abertos"
        "|Troppi file aperti|Za dużo otwartych plików",
    ),
    (
        "Cannot allocate memory",
        "メモリを確保できません|无法分配内存|메모리를 할당할 수 없습니다|Невозможно выделить память"
        "|No se pudo asignar memoria|Não foi possível alocar memória|Impossibile allocare memoria"
        "|Nie można przydzielić pamięci",
    ),
    (
        "Read-only file system",
        "読み込み専用ファイルシステムです|只读文件系统|읽기전용 파일 시스템|Файловая система доступна только для чтения"
        "|Sistema de ficheros de sólo lectura|Sistema de arquivos somente para leitura|File system in sola lettura",
    ),
    (
        ": command not found",
        ": コマンドが見つかりません|: 未找到命令|: 명령어를 찾을 수 없음|: команда не найдена|: orden no encontrada"
        "|: no se encontró la orden|: comando não encontrado|: comando non trovato|: nie znaleziono polecenia|: opdracht niet gevonden"
        r"|: (?:Kommando|Befehl) nicht gefunden\.?| ?: commande introuvable",
    ),
)


_INNER = re.compile(r"(?<= )[^ ]{3,}(?= )")
_BETWEEN = re.compile(r"NAME|\\d\+|\\.|.\{[^}]*\}|.[?*+]|[.()\[\]]")  # of a pattern without groups: what is no text; parsing all takes long
_SPLIT = re.compile(r"\|(?![^()]*\))")  # not inside of a group


class _Known(NamedTuple):
    """A translation. literal: a text that is in all it matches; word: what stands between two spaces of it, so that most lines are done
    with one look at their words, or empty."""

    literal: str
    word: str
    pattern: str
    said: str


def _known() -> Iterator[_Known]:
    blocks = [block.split("\n", 1) for block in MESSAGES.strip().split("\n\n")]
    said_in = [*_SAID, *((said, others.replace("\n", "")) for said, others in blocks)]
    for said, others in said_in:
        for other in _SPLIT.split(others):
            pattern = other.replace("NAME", _NAME)
            for literal in literals(pattern) if "(?" in other else [max(_BETWEEN.split(other), key=len)]:
                yield _Known(literal, max(_INNER.findall(literal), key=len, default=""), pattern, said)


_ALL = tuple(_known())
_BY_WORD: Dict[str, List[_Known]] = {}
for _each in _ALL:
    _BY_WORD.setdefault(_each.word, []).append(_each)
_WORDS = frozenset(_BY_WORD)
_WORDLESS = _BY_WORD.pop("")
_WORDLESS_ASCII = [each for each in _WORDLESS if each.literal.isascii()]


def begins_known(text: str) -> bool:
    """Whether ``text`` begins with what is known, so that nobody's words stand before it."""
    return any(re.match(each.pattern, text) for each in _candidates(text))


def english(text: str) -> str:
    """``text`` with what is known of other languages said in English."""
    for each in _candidates(text):
        text = re.sub(each.pattern, functools.partial(_in_english, each.said), text)
    return text


def _candidates(text: str) -> List[_Known]:
    found = [each for each in (_WORDLESS_ASCII if text.isascii() else _WORDLESS) if each.literal in text]
    for word in _WORDS.intersection(text.split()):
        found += (each for each in _BY_WORD[word] if each.literal in text)
    return sorted(found, key=_whole_first)


def _whole_first(one: _Known) -> int:
    return -len(one.pattern)  # "the column X of the relation Y" before "the relation Y"


def _in_english(said: str, match: Match[str]) -> str:
    return said.replace("NAME", next((name for name in match.groups() if name), "…"))
