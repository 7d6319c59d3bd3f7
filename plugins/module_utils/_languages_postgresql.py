# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How PostgreSQL says in other languages what a known issue looks for: in German, French, Spanish, Italian, Japanese, Korean, Russian,
Swedish, Ukrainian and Chinese, which are those that its server speaks.

Each block: the message in English, then patterns of so much of its translation (postgres-15.mo, libpq5-15.mo) as no other message has, for
the languages in which no signature knows it. ``NAME`` stands for a name.
"""

from __future__ import annotations

MESSAGES = r"""
sorry, too many clients already
ledsen, för många klienter|вибачте, вже забагато клієнтів|对不起, 已经有太多的客户

remaining connection slots are reserved
resterande anslutningsslottar är|слоти підключень, які залишились|已保留的连接位置为执行非复制请求的超级用户预留

the database system is starting up
das Datenbanksystem startet|le système de bases de données se lance|databassystemet startar upp|система бази даних запускається
|数据库系统启动中

the database system is shutting down
das Datenbanksystem fährt herunter|le système de base de données s.arrête|databassystemet stänger ner|система бази даних завершує роботу
|数据库系统停止中

the database system is in recovery mode
databassystemet är återställningsläge|система бази даних у режимі відновлення

the database system is not yet accepting connections
das Datenbanksystem nimmt noch|le système de bases de données n.accepte|databassystemet tar ännu inte emot
|система бази даних ще не приймає підключення

database system was interrupted; last known up at X
databassystemet avbröts; senast|робота системи бази даних була|数据库系统中断；上一次的启动时间是在

database files are incompatible with server
databasfilerna är inkompatibla med servern|файли бази даних є несумісними

could not create unique index "NAME"
kunde inte skapa unikt index NAME|не вдалося створити унікальний індекс NAME|无法创建唯一索引NAME

prepared statement "NAME" already exists
NAME 이름의 준비된 명령문\(prepared|preparerad sats NAME finns redan|підготовлений оператор NAME вже існує|准备好的语句 NAME 已经存在

prepared statement "NAME" does not exist
NAME 이름의 준비된 명령문\(prepared|preparerad sats NAME finns inte|підготовлений оператор NAME не існує|准备好的语句 NAME 不存在

character with byte sequence X in encoding "NAME" has no equivalent in encoding "NAME"
le caractère dont la séquence d|для символа с последовательностью|tecken med byte-sekvens .{1,80} i
|символ з послідовністю байтів .{1,80} в|编码NAME的字符0x.{1,80}在编码NAME没有相对应值

canceling statement due to statement timeout
avbryter sats på grund av sats-timeout|виконання оператора скасовано через тайм-аут|由于语句执行超时，正在取消查询命令

relation "NAME" does not exist
relationen NAME existerar inte|відношення NAME не існує

column "NAME" does not exist
kolumnen NAME existerar inte|стовпця NAME не існує|字段 NAME 不存在

role "NAME" does not exist
rollen NAME finns inte|роль NAME не існує

Peer authentication failed for user "NAME"
Peer-autentisering misslyckades för användare NAME|Користувач NAME не пройшов автентифікацію Peer|对用户NAME的对等认证失败

password authentication failed for user "NAME"
authentification par mot de passe échouée pour l.utilisateur +NAME|Lösenordsautentisering misslyckades för användare NAME
|користувач NAME не пройшов автентифікацію за допомогою|用户 NAME Password 认证失败

(PID 0) was terminated by signal 0
\(PID .{1,80}\) terminerades av|\(PID .{1,80}\) був перерваний|\(PID .{1,80}\) 被信号 .{1,80} 中断

out of file descriptors
keine Dateideskriptoren mehr|se agotaron los descriptores de|descrittori di file esauriti|ファイル記述子が不足しています
|열려 있는 파일이 너무 많습니다|нехватка дескрипторов файлов|slut på fildeskriptorer|нестача дескрипторів файлу
|超出文件描述符: .{1,80}; 释放再重试

The database was created using collation version X, but the operating system provides version X
La base de datos fue creada usando|Il database è stato creato utilizzando|データベースは照合順序バージョ
|데이터베이스를 만들때 .{1,80} 버전으로 문자 정렬 규칙을 만들었는데, 현재 OS는 .{1,80} 버전을 제공하고 있습니다
|База данных была создана с версией|Databasen skapades med jämförelseversion|Базу даних було створено за допомогою

database system was not properly shut down; automatic recovery in progress
el sistema de bases de datos no fue|il database non è stato arrestato|データベースシステムは正しくシ|데이터베이스 시스템이 정상적으로
|система БД была остановлена нештатно|databassystemet stängdes inte ned|робота системи бази даних не була
|数据库系统没有正确的关闭; 处于自动恢复状态中

terminating any other active server processes
terminando todos los otros procesos|interruzione di tutti gli altri|他の活動中のサーバープロセスを終了しています
|다른 활성화 되어있는 서버 프로세스를|завершение всех остальных активных|avslutar andra aktiva serverprocesser
|завершення будь-яких інших активних|中断任何其它已激活的服务器进程

all server processes terminated; reinitializing
todos los procesos fueron terminados|tutti i processi server sono terminati|全てのサーバープロセスが終了し
|모든 서버 프로세스가 중지 되었습니다|все серверные процессы завершены|alla serverprocesser är avslutade|усі серверні процеси перервано
|所有的服务器进程被中止; 重新初始化

terminating connection because of crash of another server process
terminando la conexión debido a una falla|la connessione è stata terminata a causa del|他のサーバープロセスがクラッシ
|다른 서버 프로세스가 손상을 입어|закрытие подключения из-за краха|avbryter anslutning på grund av|завершення підключення через аварійне
|中断联接, 因为其它服务器进程崩溃

too many connections for role "NAME"
demasiadas conexiones para el rol NAME|troppe connessioni per il ruolo NAME|ロールNAMEからの接続が多すぎます
|NAME 롤의 최대 동시 접속수를 초과했습니다|слишком много подключений для роли NAME|för många uppkopplingar för roll NAME
|занадто багато підключень для ролі NAME|由角色NAME发起的连接太多了

too many connections for database "NAME"
demasiadas conexiones para la base|troppe connessioni al database NAME|データベースNAMEへの接続が多すぎます
|NAME 데이터베이스 최대 접속수를 초과했습니다|слишком много подключений к БД NAME|för många uppkopplingar till databasen NAME
|занадто багато підключень до бази даних NAME|到数据库 NAME的连接太多了

out of memory
memoria agotada|memoria esaurita|メモリ不足です|메모리 부족|нехватка памяти|slut på minne|недостатньо пам.яті|内存用尽

data directory "NAME" has invalid permissions
le répertoire des données NAME a|el directorio de datos NAME tiene|la directory di dati NAME ha permessi
|データディレクトリNAMEの権限設定が不正です|NAME 데이터 디렉터리 접근 권한에|для каталога данных NAME установлены
|datakatalogen NAME har felaktiga rättigheter|каталог даних NAME має неприпустимі дозволи|数据目录NAME的权限无效

data directory "NAME" has wrong ownership
le répertoire des données NAME a|el directorio de datos NAME tiene|la directory dei dati NAME ha il|データディレクトリNAMEの所有者
|NAME 데이터 디렉터리 소유주가 잘못 되었습니다|владелец каталога данных NAME определён|datakatalogen NAME har fel ägare
|власник каталогу даних NAME визначений|data目录 NAME的所有者权限错误

lock file "NAME" already exists
el archivo de bloqueo NAME ya existe|il file di lock NAME esiste già|ロックファイルNAMEはすでに存在します|NAME 잠금 파일이 이미 있음
|файл блокировки NAME уже существует|låsfil med namn NAME finns redan|файл блокування NAME вже існує|锁文件 NAME 已经存在

configuration file "NAME" contains errors
Konfigurationsdatei »NAME« enthält Fehler|le fichier de configuration NAME contient|el archivo de configuración NAME contiene
|il file di configurazione NAME contiene errori|設定ファイルNAMEにはエラーがあります|NAME 환경 설정파일에 오류가 있음
|файл конфигурации NAME содержит ошибки|konfigurationsfil NAME innehåller fel|файл конфігурації NAME містить помилки|配置文件 NAME 有错

could not create any TCP/IP sockets
konnte keine TCP/IP-Sockets erstellen|n.a pas pu créer de socket TCP/IP|no se pudo crear ningún socket TCP/IP
|non è stato possibile creare alcun|TCP/IPソケットを作成できませんでした|TCP/IP 소켓을 만들 수 없습니다|не удалось создать сокеты TCP/IP
|kunde inte skapa TCP/IP-uttag \(socket\)|не вдалося створити TCP/IP сокети|无法创建TCP/IP套接字

invalid page in block 0 of relation X
ungültige Seite in Block .{1,80} von Relation|page invalide dans le bloc .{1,80} de|la página no es válida en el bloque
|pagina non valida nel blocco .{1,80} della|リレーション.{1,80}のブロック.{1,80}に|블록\(해당 릴레이션: .{1,80}\)에 잘못된
|некорректная страница в блоке .{1,80} отношения|ogiltig sida i block .{1,80} i relation|неприпустима сторінка в блоці .{1,80} відношення
|关系 NAME 中的块 .{1,80} 存在无效的页

index "NAME" contains corrupted page at block 0
el índice NAME contiene una página corrupta|l.indice NAME contiene una pagina corrotta|インデックスNAMEのブロック.{1,80}に
|NAME 인덱스트 .{1,80}번째 블럭이|индекс NAME содержит испорченную|index NAME har en trasig sida vid block|індекс NAME містить пошкоджену
|索引NAME在块.{1,80}上包含已损坏的页

index "NAME" contains unexpected zero page at block 0
índice NAME contiene páginas vacías|l.indice NAME contiene una pagina inaspettata|インデックスNAMEのブロック.{1,80}に
|NAME 인덱스의 .{1,80}번째 블럭에서|в индексе NAME неожиданно оказалась|index NAME innehåller en oväntad|індекс NAME містить неочікувану
|索引NAME在块.{1,80}上包含未期望的零页

failed to re-find tuple within index "NAME"
konnte Tupel mit Index »NAME«|échec pour retrouver la ligne dans|no se pudo volver a encontrar la
|non ho ritrovato la tupla nell.indice NAME|インデックスNAME内で行の再検索に失敗しました|NAME 인덱스에서 튜플 재검색 실패
|не удалось повторно найти кортеж|misslyckades att återfinna tuple i index NAME|не вдалося повторно знайти кортеж
|在索引NAME中重新寻找元组失败

could not locate a valid checkpoint record
no se pudo localizar un registro de punto de control|localizzazione di un record di checkpoint|有効なチェックポイントが見つかりません
|체크포인트 레코드의 위치를|не удалось считать правильную запись контрольной|kunde inte hitta en giltig checkpoint
|не вдалося знайти запис допустимої контрольної|无法找到一个有效的 checkpoint 记录

could not access status of transaction 0
konnte auf den Status von Transaktion|n.a pas pu accéder au statut de la transaction|no se pudo encontrar el estado
|non è stato possibile accedere|トランザクション.{1,80}のステー|트랜잭션의 상태를 액세스할 수 없음
|не удалось получить состояние транзакции|kunde inte läsa status på transaktion|не можливо отримати статус транзакції
|无法处理事物 .{1,80} 的状态

database "NAME" has a collation version mismatch
Version von Sortierfolge für Datenbank|la base de datos NAME tiene una|il database NAME ha una versione|データベースNAMEで照合順序バー
|NAME 데이터베이스의 문자 정렬 규칙은|несовпадение версии для правила сортировки в|databasen NAME har en jämförelse \(collation
|база даних NAME має невідповідність

template database "NAME" has a collation version mismatch
Version von Sortierfolge für Template|discordancia en la versión de «|il database del modello NAME presenta
|テンプレートデータベースNAMEでは|NAME 템플릿 데이터베이스의 문자|в базе-шаблоне NAME обнаружено
|malldatabasen NAME har en jämförelseversion \(collation\) som|шаблон бази даних NAME має невідповідність

encoding "NAME" does not match locale "NAME"
la codificación NAME no coincide|la codifica NAME non corrisponde|符号化方式NAMEがロケールNAMEに合いません
|NAME 인코딩은 NAME 로케일과 일치하지 않음|кодировка NAME не соответствует локали NAME|kodning NAME matchar inte lokal NAME
|кодування NAME не відповідає локалі NAME|编码 NAME与本地化环境NAME不匹配

new encoding (X) is incompatible with the encoding of the template database (X)
la nueva codificación \(.{1,80}\)|la nuova codifica \(.{1,80}\) è|新しい符号化方式\(.{1,80}\)はテ
|새 인코딩\(.{1,80}\)이 템플릿 데이터베이스의|новая кодировка \(.{1,80}\) несовместима|ny kodning \(.{1,80}\) är inkompatibel
|нове кодування \(.{1,80}\) несумісне|新的编码\(.{1,80}\)与模板数据库

new collation (X) is incompatible with the collation of the template database (X)
la nueva «collation» \(.{1,80}\)|il nuovo ordinamento \(.{1,80}\)|新しい照合順序\(.{1,80}\)はテン|새 데이터 정렬 규칙 \(.{1,80}\)
|новое правило сортировки \(.{1,80}\)|ny jämförelse \(.{1,80}\) är inkompatibel|нове правило сортування \(.{1,80}\)
|新的排序规则\(.{1,80}\)与模版数

role "NAME" is not permitted to log in
Rolle »NAME« hat keine Berechtigung|le rôle NAME n.est pas autorisé à se connecter|al rol NAME no se le permite conectarse
|al ruolo NAME non è consentito|ロールNAMEはログインが許可されません|NAME 롤은 접속을 허용하지 않음|для роли NAME вход запрещён
|roll NAME tillåts inte logga in|для ролі NAME вхід не дозволений|不允许角色NAME 进行登录

Ident authentication failed for user "NAME"
Échec de l.authentification Ident pour l.utilisateur NAME|la autentificación Ident falló para el usuario NAME
|Autenticazione Ident fallita per l.utente NAME
|ユーザーNAMEのIdent認証に失敗しました|사용자 NAME의 Ident 인증을 실패했습니다|пользователь NAME не прошёл проверку подлинности \(Ident
|Ident-autentisering misslyckades för användare NAME|Користувач NAME не пройшов автентифікацію Ident|用户 NAME Ident 认证失败

invalid primary checkpoint record
ungültiger primärer Checkpoint-Datensatz|enregistrement du point de vérification primaire invalide
|el registro del punto de control primario no es válido|il record del checkpoint primario non è valido
|最初のチェックポイントレコードが不正です|잘못된 primary checkpoint 레코드|неверная запись первичной контрольной точки
|ogiltig primär checkpoint-post|невірний запис первинної контрольної точки|无效的主 checkpoint 记录

shutting down due to startup process failure
arrêt à cause d.un échec du processus startup|apagando debido a una falla en|chiusura a causa di un errore del
|起動プロセスの失敗のためシャッ|시작 작업 실패로 중지합니다|сервер останавливается из-за ошибки
|stänger ner på grund av fel i startprocessen|завершення роботи через помилку

aborting startup due to startup process failure
annulation du démarrage à cause|abortando el inicio debido a una|avvio interrotto a causa del fallimento
|起動プロセスの失敗のため起動を中断しています|시작 프로세스 실패 때문에 서버|avbryter uppstart på grund av fel
|переривання запуску через помилку|由于启动进程失败, 终止启动

the database system is not accepting connections
das Datenbanksystem nimmt keine|le système de bases de données n.accepte|el sistema de bases de datos no está
|il sistema di database non accetta connessioni|データベースシステムは接続を受け付けていません|해당 데이터베이스 시스템은 접속을
|система БД не принимает подключения|databassystemet tar inte emot anslutningar|система бази даних не приймає підключення

process 0 still waiting for X on X after 0 ms
el proceso .{1,80} aún espera .{1,80} en|il processo .{1,80} è ancora un|プロセス.{1,80}は.{1,80}を.{1,80}で待機しています
|PID 프로세스에서 여전히 .{1,80}\(.{1,80}\)|процесс .{1,80} продолжает ожидать|process .{1,80} väntar fortfarande
|процес .{1,80} все ще чекає в режимі|进程.{1,80}在.{1,80} ms仍然等待在.{1,80}上的

unnamed prepared statement does not exist
unbenannte vorbereitete Anweisung|l.instruction préparée non nommée n.existe pas|no existe una sentencia preparada sin nombre
|l.istruzione preparata senza nome non esiste|無名の準備された文が存在しません|이름없는 준비된 명령 구문\(unnamed
|безымянный подготовленный оператор|förberedd sats utan namn existerar inte|підготовлений оператор без імені не існує
|未命名的准备语句不存在

bind message supplies 0 parameters, but prepared statement "NAME" requires 0
el mensaje de «bind» entrega .{1,80} parámetros|il messaggio di bind fornisce .{1,80} parametri|バインドメッセージは.{1,80}パラメータを
|바인드 메시지는 .{1,80}개의 매개|в сообщении Bind передано неверное|bind-meddelande ger .{1,80} parametrar
|в повідомленні bind передано .{1,80} параметрів|绑定消息提供了.{1,80}个参数,但

canceling statement due to lock timeout
ロックのタイムアウトのためステ|잠금 대기 시간 초과로 작업을 취소합니다|avbryter sats på grund av lås-timeout
|виконання оператора скасовано через тайм|由于锁超时，取消语句操作

column "NAME" of relation "NAME" already exists
ya existe la columna NAME en la relación NAME|la colonna NAME della relazione NAME esiste|リレーションNAMEの列NAMEはすでに存在します
|NAME 이름의 칼럼은 NAME 릴레이션에|столбец NAME отношения NAME уже существует|kolumn NAME i relation NAME finns redan
|стовпець NAME відношення NAME вже існує|关系 NAME 的属性 NAME 已经存在

column "NAME" of relation "NAME" contains null values
Spalte »NAME« von Relation »NAME« enthält|la colonne NAME de la table NAME contient
|la columna NAME de la relación NAME contiene valores null|la colonna NAME della relazione NAME contiene
|リレーションNAMEの列NAMEにNULL値があります|NAME 열\(해당 릴레이션 NAME\)의|столбец NAME отношения NAME содержит
|kolumn NAME i relation NAME innehåller|стовпець NAME відношення NAME містить

check constraint "NAME" of relation "NAME" is violated by some row
Check-Constraint »NAME« von|la contrainte de vérification NAME de|la restricción check NAME de la|controlla il vincolo NAME della
|一部の行がリレーションNAMEの検|NAME 체크 제약 조건\(해당 릴레이션|ограничение-проверку NAME отношения
|check-villkor NAME i relation NAME bryts|перевірка обмеження NAME відношення

column "NAME" of relation "NAME" does not exist
la colonna NAME della relazione NAME non esiste|リレーションNAMEの列NAMEは存在しません|NAME 칼럼은 NAME 릴레이션\(relation\)에 없음
|столбец NAME в таблице NAME не существует|kolumn NAME i relation NAME existerar inte|стовпець NAME зв.язку NAME не існує
|关系 NAME 的 NAME 字段不存在

conversion between X and X is not supported
Umwandlung zwischen .{1,80} und .{1,80} wird nicht unterstützt|la conversión entre .{1,80} y .{1,80} no
|la conversione fra .{1,80} e .{1,80} non|と.{1,80}間の変換はサポートされていません
|인코딩과 .{1,80} 인코딩 사이의 변환은 지원하지 않습니다|преобразование .{1,80} <-> .{1,80} не|konvertering mellan .{1,80} och
|перетворення між .{1,80} і .{1,80} не|不支持 .{1,80} 和 .{1,80} 之间的编码转换

unsupported Unicode escape sequence
secuencia de escape Unicode no soportado|sequenza di escape Unicode non supportata|サポートされないUnicodeエスケープシーケンス
|지원하지 않는 유니코드 이스케이프 조합|неподдерживаемая спецпоследовательность|Unicode escape-sekvens som inte stöds
|непідтримувана спеціальна послідовність|不支持的Unicode转义序列

The data directory was initialized by PostgreSQL version X, which is not compatible with this version X
El directorio de datos fue inicializado|La directory dei dati è stata inizializzata|データディレクトリはPostgreSQL
|이 데이터 디렉터리는 PostgreSQL|Каталог данных инициализирован|Datakatalogen har skapats av PostgreSQL
|Каталог даних ініціалізований сервером|数据目录是以 PostgreSQL 版本 .{1,80} 初

no pg_hba.conf entry for
pg_hba\.conf にホストNAME、ユー|호스트 NAME, 사용자 NAME, 데이터베이스 NAME, .{1,80} 연결에
|ingen rad i pg_hba\.conf för värd|в pg_hba\.conf немає запису для|没有用于主机 NAME, 用户 NAME, 数

cannot execute X in a read-only transaction
no se puede ejecutar .{1,80} en una transacción|non è possibile eseguire .{1,80} in una transazione a|リードオンリーのトランザクショ
|읽기 전용 트랜잭션에서는 .{1,80} 명령을|в транзакции в режиме .только чтение|kan inte köra .{1,80} i read-only-transaktion
|не можна виконати .{1,80} в транзакції|不能在一个只读模式的事务中执行

must be owner of table X
debe ser dueño de la tabla|bisogna essere proprietari della tabella|テーブル .{1,80} の所有者である必要があります
|테이블의 소유주여야만 합니다|нужно быть владельцем таблицы|måste vara ägaren till tabellen|треба бути власником таблиці
|必须是表 .{1,80} 的属主

permission denied for table X
permiso denegado a la tabla|permesso negato per la tabella|テーブル .{1,80} へのアクセスが拒否されました|테이블에 대한 접근 권한 없음
|нет доступа к таблице|rättighet saknas för tabell|немає дозволу для таблиці|对表 .{1,80} 权限不够

Is the server running locally and accepting connections on that socket?
Läuft der Server lokal und akzeptiert er|Le serveur est-il actif localement et accepte-t-il|¿Está el servidor en ejecución localmente
|Il server è in esecuzione localmente|サーバーはローカルで稼働していてそのソケット|로컬 연결을 시도 중이고, 유닉스 도메인 소켓
|Сервер действительно работает локально|Kör servern lokalt och accepterar|Чи працює сервер локально|服务器是否在本地运行并接受

Is the server running on that host and accepting TCP/IP connections?
¿Está el servidor en ejecución en ese host|Il server è in esecuzione su quell.host|サーバーはそのホスト上で稼働していてTCP/IP
|해당 호스트에 서버가 실행 중이고|Сервер действительно работает по данному адресу|Kör servern på den värden och accepterar
|Чи працює сервер на цьому хості|服务器是否在该主机上运行并接受

could not translate host name "NAME" to address:
NAME 호스트 이름을 전송할 수 없습니다|kunde inte översätta värdnamn NAME till
|не вдалося перекласти ім.я хоста NAME|无法解释主机名 NAME 到地址

invalid port number: "NAME"
número de puerto no válido: NAME|numero di porta non valido: NAME|不正なポート番号です: NAME|잘못된 포트 번호: NAME
|неверный номер порта: NAME|ogiltigt portnummer NAME|неприпустимий номер порту: NAME|无效端口号: NAME

SSL connection has been closed unexpectedly
SSL-Verbindung wurde unerwartet geschlossen|la connexion SSL a été fermée de façon|la conexión SSL se ha cerrado inesperadamente
|la connessione SSL è stata chiusa inaspettatamente|SSL接続が意図せずにクローズされました|SSL 연결이 예상치 못하게 끊김
|SSL-соединение было неожиданно закрыто|SSL-anslutning har oväntat stängts|SSL підключення було неочікувано|SSL连接异常关闭
"""
