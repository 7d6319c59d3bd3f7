# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Words of a trace, in English and French. Private to this collection."""

from __future__ import annotations

TEXTS: dict[str, tuple[str, str]] = {
    # what became of the request
    "answered": (
        "It reached the application, which answered {status}: {what}, on {host} at {when}.",
        "Elle a atteint l'application, qui a répondu {status} : {what}, sur {host}, le {when}.",
    ),
    "gave_up": (
        "The proxy did not wait for that: the visitor got {status}.",
        "Le proxy n'a pas attendu cette réponse : le visiteur a reçu {status}.",
    ),
    "again": (
        "This id was used {n} times; a client can choose it itself.",
        "Cet identifiant a servi {n} fois ; un client peut le choisir lui-même.",
    ),
    "reached": (
        "It reached the application: lines carry its id. None of them tells its answer; a process that died, or a log level above"
        " info, leaves such a gap.",
        "Elle a atteint l'application : des lignes portent son identifiant. Aucune ne donne la réponse ; un processus mort, ou un"
        " niveau de journal supérieur à info, laisse un tel vide.",
    ),
    "streaming": (
        "It was answered by the streaming server, which gives ids of its own; the web process never saw it.",
        "Le serveur de streaming y a répondu ; il donne ses propres identifiants, et le processus web ne l'a jamais vue.",
    ),
    "answered_elsewhere": (
        "The log of the proxy says that an application answered it, and no web log that was read has it: it ran on a host that is"
        " not in this inventory, its lines are gone, or RAILS_LOG_LEVEL is above info.",
        "Le journal du proxy dit qu'une application y a répondu, et aucun journal web lu ne la contient : elle a tourné sur un "
        "hôte absent de cet inventaire, ses lignes ont disparu, ou RAILS_LOG_LEVEL est supérieur à info.",
    ),
    "never_reached": (
        "It never got an answer of the application: only the log of the proxy has the id, and the proxy made the answer itself.",
        "Elle n'a jamais reçu de réponse de l'application : seul le journal du proxy contient l'identifiant, et le proxy a "
        "répondu lui-même.",
    ),
    "proxy_only": (
        "Only the log of the proxy has this id, and it does not tell whether an application was asked. A request that reaches "
        "Mastodon leaves a line in a web log: either it never did, or that log was not read.",
        "Seul le journal du proxy contient cet identifiant, sans dire si une application a été interrogée. Une requête qui "
        "atteint Mastodon laisse une ligne dans un journal web : soit elle ne l'a jamais atteint, soit ce journal n'a pas été lu.",
    ),
    "not_found": (
        "No log has this id since {since}. A request that reaches Mastodon leaves a line with its id in a web log. So it never "
        "reached the application, was sent to other servers, or its lines are older or gone (-e mastodon_trace_since=7d looks "
        "further back). An id that the visitor sent and that is not in the answer's header X-Request-Id proves that the "
        "application did not answer: run this again with an empty request_id to see what the proxy answered itself.",
        "Aucun journal ne contient cet identifiant depuis {since}. Une requête qui atteint Mastodon laisse dans un journal web "
        "une ligne avec son identifiant. Elle n'a donc jamais atteint l'application, est allée à d'autres serveurs, ou ses lignes"
        " sont plus anciennes ou perdues (-e mastodon_trace_since=7d remonte plus loin). Un identifiant envoyé par le visiteur et"
        " absent de l'en-tête X-Request-Id de la réponse prouve que l'application n'a pas répondu : relancez avec un request_id "
        "vide pour voir ce que le proxy a répondu.",
    ),
    "made_by_proxy": (
        "An answer without X-Request-Id never came from the application: the proxy in front of Mastodon made it. These are the "
        "newest that it made; look for the time and the path of yours.",
        "Une réponse sans X-Request-Id ne vient jamais de l'application : c'est le proxy devant Mastodon qui l'a faite. Voici les"
        " plus récentes ; cherchez l'heure et le chemin de la vôtre.",
    ),
    "nothing": (
        "An answer without X-Request-Id never came from the application: the proxy in front of Mastodon made it, or something "
        "before the proxy (a load balancer, a CDN). The logs of the proxies here show no failure since {since}.",
        "Une réponse sans X-Request-Id ne vient jamais de l'application : c'est le proxy devant Mastodon qui l'a faite, ou "
        "quelque chose en amont (répartiteur de charge, CDN). Les journaux des proxys d'ici ne montrent aucun échec depuis "
        "{since}.",
    ),
    "unknown": ("The logs of no host could be read.", "Les journaux d'aucun hôte n'ont pu être lus."),
    # answers of the proxy
    "state_never_reached": ("never reached the application", "n'a jamais atteint l'application"),
    "state_no_answer": ("the application gave no answer in time", "l'application n'a pas répondu à temps"),
    "state_by_proxy": ("no answer of the application was passed on", "aucune réponse de l'application n'a été transmise"),
    # jobs
    "jobs_none": (
        "Jobs: none of these lines names one. Mastodon writes nothing when it enqueues a job itself, at no log level, and gives "
        "the job no request id: which ones this request enqueued cannot be told. Only mails, which go through ActiveJob, are "
        "named.",
        "Tâches : aucune de ces lignes n'en nomme. Mastodon n'écrit rien quand il met lui-même une tâche en file, quel que soit "
        "le niveau de journal, et ne lui donne pas l'identifiant de la requête : impossible de dire lesquelles elle a créées. "
        "Seuls les courriels, qui passent par ActiveJob, sont nommés.",
    ),
    "jobs_named": (
        "Jobs: {jobs}. Only what goes through ActiveJob (mails) is named; other jobs of this request cannot be told.",
        "Tâches : {jobs}. Seul ce qui passe par ActiveJob (courriels) est nommé ; les autres tâches de cette requête ne se voient pas.",
    ),
    # notes
    "no_web": (
        "None of the hosts that were looked at runs the web process: its log, where every request has a line, was not read.",
        "Aucun des hôtes examinés ne fait tourner le processus web : son journal, où chaque requête a une ligne, n'a pas été lu.",
    ),
    "clock": (
        "The clock of {ahead} is at least {seconds} ahead of that of {behind}. Lines stand in the order of each host's own clock:"
        " between these two it is not the order of events.",
        "L'horloge de {ahead} avance d'au moins {seconds} sur celle de {behind}. Les lignes suivent l'horloge de chaque hôte : "
        "entre ces deux, ce n'est pas l'ordre des faits.",
    ),
    "left_out": ("{n} lines more were found and are not shown.", "{n} autres lignes trouvées ne sont pas montrées."),
    "newest_only": (
        "So many lines hold what was looked for that only the newest were taken.",
        "Tant de lignes contiennent ce qui est cherché que seules les plus récentes ont été prises.",
    ),
    "more_lines": ("{n} more lines in {where}", "{n} autres lignes dans {where}"),
    "not_read": ("not wholly read", "lu en partie"),
    "nobody_knows": ("No known issue explains this.", "Aucun problème connu ne l'explique."),
    # labels
    "request": ("request", "requête"),
    "no_id": ("answer without X-Request-Id", "réponse sans X-Request-Id"),
    "stack": ("stack", "pile"),
    "caused": ("caused by", "causée par"),
    "in_job": ("job {job}", "tâche {job}"),
    "times": (
        "Times are UTC; without fractions of a second where the log has none.",
        "Heures UTC ; sans fraction quand le journal n'en a pas.",
    ),
    # how a line is tied to the request; id and block need no word
    "link_id": ("", ""),
    "link_block": ("", ""),
    "link_proxy": ("", ""),
    "link_job": ("job", "tâche"),
    "link_error": ("same error", "même erreur"),
    "link_request": ("same request", "même requête"),
    "link_time": ("same time", "même instant"),
    "one_of": ("{link}, 1 of {n}", "{link}, 1 sur {n}"),
}


def text(key: str, language: str, **values: object) -> str:
    """A word or sentence of a trace."""
    return TEXTS[key][("en", "fr").index(language)].format(**values)
