# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages of other languages are heard in English, with the names in them."""

from __future__ import annotations

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils import _languages, _languages_postgresql, _signatures
from ansible_collections.fediops.mastodon.plugins.module_utils._lines import parse
from ansible_collections.fediops.mastodon.plugins.module_utils._lines_strangers import heard


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("FATAL:  lo siento, ya tenemos demasiados clientes", "FATAL:  sorry, too many clients already"),
        ("ERROR:  列accounts.hide_collectionsは存在しません", 'ERROR:  column "accounts.hide_collections" does not exist'),
        ('роль "mastodon" не существует', 'role "mastodon" does not exist'),
        ('"mastodon" 롤(role) 없음', 'role "mastodon" does not exist'),
        ("-bash: bundle : commande introuvable", "-bash: bundle: command not found"),
        ("tar: x: write: 设备上没有空间", "tar: x: write: No space left on device"),
        ("FEL:  för många uppkopplingar för roll \"mastodon\"", 'FEL:  too many connections for role "mastodon"'),
        ('ERROR:  リレーション"statuses"の列"visibility"は存在しません', 'ERROR:  column "statuses" of relation "statuses" does not exist'),
        ("le fichier de configuration « a.conf » contient des erreurs", 'configuration file "a.conf" contains errors des erreurs'),
        ("新的编码(UTF8)与模板数据库(SQL_ASCII)的编码不兼容",
         "new encoding (X) is incompatible with the encoding of the template database (X)(SQL_ASCII)的编码不兼容"),
        (
            "робота системи бази даних не була завершена",
            "database system was not properly shut down; automatic recovery in progress завершена",
        ),
        ("何か別のこと", "何か別のこと"),
        ("the database system is starting up", "the database system is starting up"),
    ],
)
def test_what_is_known_is_said_in_english(text: str, said: str) -> None:
    assert _languages.english(text) == said


def test_every_translation_is_found_by_the_text_it_is_looked_for_by() -> None:
    assert all(len(each.literal) >= 3 for each in _languages._ALL)
    assert all(any(each.literal in needed for needed in _signatures.literals(each.pattern)) for each in _languages._ALL)
    listed = [block.split("\n")[0] for block in _languages_postgresql.MESSAGES.strip().split("\n\n")]
    assert {each.said for each in _languages._ALL} == {said for said, _others in _languages._SAID} | set(listed)


def test_severities_of_other_languages_and_values_of_strangers() -> None:
    line = parse("database", "2026-01-02 03:04:05 MSK [12] ВАЖНО:  извините, уже слишком много клиентов")
    assert line.severity == "fatal" and heard("database", line) == "FATAL:  sorry, too many clients already"
    for word in ("文", "SATS", "ІНСТРУКЦІЯ", "详细信息", "ANFRAGE", "쿼리"):
        assert parse("database", f"2026-01-02 03:04:05 JST [12] {word}:  SELECT 'x'").kind == "statement"
    assert parse("database", "2026-01-02 03:04:05 CET [12] FATALT:  x").severity == "fatal"
    odd = parse("database", '2026-01-02 03:04:05 CET [12] FEL:  ogiltig indatasyntax för type x: "No space left on device"')
    assert "No space" not in heard("database", odd)
    odd = parse("database", '2026-01-02 03:04:05 JST [12] ERROR:  型の入力構文が不正です: "No space left on device"')
    assert "No space" not in heard("database", odd)


def test_two_names_in_quotes_and_the_words_of_a_stranger_between_them() -> None:
    """A value may hold quotes of its own: only what a message begins with is surely PostgreSQL's."""
    taken = parse("database", '2026-01-02 03:04:05 JST [12] ERROR:  リレーション"statuses"の列"visibility"はすでに存在します')
    assert heard("database", taken) == 'ERROR:  column "…" of relation "…" already exists'
    value = '"a" リレーション"b"の列"c"はすでに存在します'
    odd = parse("database", f"2026-01-02 03:04:05 JST [12] ERROR:  型の入力構文が不正です: {value}")
    assert "already exists" not in heard("database", odd)


@pytest.mark.parametrize(
    "said",
    [
        "FEHLER:  ungültiger Eingabewert für Enum x: »%s«", "FEHLER:  Zeitzone »%s« nicht erkannt",
        "ERREUR:  le fuseau horaire « %s » n'est pas reconnu",
        "ERROR:  el huso horario «%s» no es reconocido", 'ERRORE:  valore "%s" fuori dall\'intervallo consentito per il tipo bigint',
        'FEL:  värdet "%s" är utanför giltigt intervall för typen bigint', 'FEL:  tidszon "%s" känns inte igen',
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "value", ["could not extend file 'x': No space left on device", "slut på minne", "terminating any other active server processes"]
)
def test_values_of_rows_in_quotes_are_not_heard(said: str, value: str) -> None:
    text = heard("database", parse("database", "2026-01-02 03:04:05 CET [12] " + said % value))
    assert "No space" not in text and "memory" not in text and "terminating" not in text


def test_names_in_quotes_are_heard() -> None:
    for said in ('FATAL:  role "mastodon" does not exist', 'FEHLER:  Spalte »visibility« von Relation »statuses« existiert bereits',
                 "ERREUR:  la relation « accounts » n'existe pas"):
        assert heard("database", parse("database", "2026-01-02 03:04:05 CET [12] " + said)) == said
