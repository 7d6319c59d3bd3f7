# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every word of the report's own, in English and French. Private to this collection."""

from __future__ import annotations

LANGUAGES = ("en", "fr")

TEXTS: dict[str, tuple[str, str]] = {
    # verdicts and severities
    "faults": ("faults", "pannes"),
    "incomplete": ("incomplete", "incomplet"),
    "unclassified": ("unclassified", "non classé"),
    "advice": ("advice", "conseil"),
    "clear": ("clear", "sain"),
    "critical": ("critical", "critique"),
    "error": ("error", "erreur"),
    "warning": ("warning", "alerte"),
    "unknown": ("unknown", "inconnu"),
    "partly_read": ("partly read", "lu en partie"),
    "waived": ("waived", "dérogation"),
    "note": ("note", "note"),
    "recorded": ("recorded facts, host not asked", "faits enregistrés, hôte non interrogé"),
    # components
    "web": ("Web", "Web"),
    "sidekiq": ("Sidekiq", "Sidekiq"),
    "streaming": ("Streaming", "Streaming"),
    "database": ("Database", "Base de données"),
    "redis": ("Redis", "Redis"),
    "proxy": ("Proxy", "Proxy"),
    "disk": ("Disk", "Disque"),
    "memory": ("Memory", "Mémoire"),
    "assets": ("Assets", "Assets"),
    "media": ("Media", "Médias"),
    "environment": ("Environment", "Environnement"),
    "services": ("Services", "Services"),
    # counted
    "root_cause": ("{n} root cause", "{n} cause racine"),
    "root_causes": ("{n} root causes", "{n} causes racines"),
    "symptom": ("{n} symptom explained", "{n} symptôme expliqué"),
    "symptoms": ("{n} symptoms explained", "{n} symptômes expliqués"),
    "checked_one": ("{n} known issue checked", "{n} problème connu vérifié"),
    "checked_many": ("{n} known issues checked", "{n} problèmes connus vérifiés"),
    "advice_one": ("{n} advice", "{n} conseil"),
    "advice_many": ("{n} advice", "{n} conseils"),
    "unknown_one": ("{n} not checkable", "{n} non vérifiable"),
    "unknown_many": ("{n} not checkable", "{n} non vérifiables"),
    "waived_one": ("{n} waived", "{n} dérogation"),
    "waived_many": ("{n} waived", "{n} dérogations"),
    "unclassified_one": ("{n} unclassified error", "{n} erreur non classée"),
    "unclassified_many": ("{n} unclassified errors", "{n} erreurs non classées"),
    "clear_hosts_one": ("{n} more host: nothing found", "{n} autre hôte : rien à signaler"),
    "clear_hosts_many": ("{n} more hosts: nothing found", "{n} autres hôtes : rien à signaler"),
    "host_one": ("{n} server", "{n} serveur"),
    "host_many": ("{n} servers", "{n} serveurs"),
    "headline_faults_one": ("{n} of {of} has faults", "{n} sur {of} est en panne"),
    "headline_faults_many": ("{n} of {of} have faults", "{n} sur {of} sont en panne"),
    "headline_incomplete_one": ("{n} of {of} could not be fully checked", "{n} sur {of} n'a pas pu être entièrement vérifié"),
    "headline_incomplete_many": ("{n} of {of} could not be fully checked", "{n} sur {of} n'ont pas pu être entièrement vérifiés"),
    "headline_unclassified_one": ("{n} of {of} shows errors that nobody knows", "{n} sur {of} montre des erreurs inconnues"),
    "headline_unclassified_many": ("{n} of {of} show errors that nobody knows", "{n} sur {of} montrent des erreurs inconnues"),
    "headline_faults_none": ("Faults between the hosts, seen on {of} together", "Pannes entre les hôtes, vues sur {of} ensemble"),
    "headline_incomplete_none": ("{of} could not be fully compared", "{of} : comparaison incomplète"),
    "headline_advice": ("No faults on {of}, some advice", "Aucune panne sur {of}, quelques conseils"),
    "headline_clear": ("No faults on {of}", "Aucune panne sur {of}"),
    # labels
    "because": ("because", "preuve"),
    "explains": ("explains", "explique"),
    "caused_by": ("caused by", "causé par"),
    "fix": ("fix", "remède"),
    "no_fix": ("no automatic fix", "pas de remède automatique"),
    "until": ("until", "jusqu'au"),
    "sources": ("Sources", "Sources"),
    "report_in": ("Report: {where}", "Rapport : {where}"),
    "could_not_look": ("could not be looked at", "n'a pas pu être examiné"),
    "automatic": ("automatic", "automatique"),
    # remediation
    "remediation": ("Remediation", "Remédiation"),
    "act_planned": ("planned", "prévu"),
    "act_kept": ("done", "fait"),
    "act_undone": ("undone", "annulé"),
    "act_failed": ("failed", "échec"),
    "act_refused": ("refused", "refusé"),
    "act_nothing": ("nothing to do", "rien à faire"),
    "act_not_allowed": ("not allowed", "non permis"),
    "act_not_touched": ("not touched", "non touché"),
    "act_escalated": ("escalated", "à examiner"),
    "act_changes": ("changes", "modifie"),
    "act_before": ("before", "avant"),
    "act_after": ("after", "après"),
    "act_allow": ("allow it", "permettre"),
    "act_cannot_undo": ("for good", "définitif"),
    "act_unjudged": ("its effect takes time, or is only to see more", "l'effet prend du temps, ou ne sert qu'à voir plus"),
    "act_kept_database": ("old database", "ancienne base"),
    "act_only_by_rollback": (
        "it stays in effect; only a rollback takes it back, and gives up what was written since",
        "reste en place ; seul un retour en arrière l'annule, et abandonne ce qui a été écrit depuis",
    ),
    "act_follows": (
        "{host} worked on the database of both; processes that run since before it are started anew",
        "{host} a travaillé sur la base commune ; les processus plus anciens sont relancés",
    ),
    "remediation_not_touched": ("not touched: {why}", "non touché : {why}"),
    "remediation_error": ("broken off: {why}", "interrompu : {why}"),
    "remediation_worse": ("got worse: {ids}", "a empiré : {ids}"),
    "remediation_recovered": ("finished an earlier run that was left open: {ids}", "a terminé une exécution antérieure inachevée : {ids}"),
    "remediation_left_open": (
        "an earlier run was left open: {ids}; a remediation without --check finishes or undoes it",
        "une exécution antérieure est restée inachevée : {ids} ; une remédiation sans --check la termine ou l'annule",
    ),
    "remediation_problem": ("services: {why}", "services : {why}"),
    "remediation_rollback": ("to take it back:", "pour revenir en arrière :"),
    # page
    "page_title": ("Mastodon diagnosis", "Diagnostic Mastodon"),
    "skip": ("Skip to the findings", "Aller aux constats"),
    "switch_language": ("Language", "Langue"),
    "switch_theme": ("Light or dark", "Clair ou sombre"),
    "causes_heading": ("What is wrong", "Ce qui ne va pas"),
    "causes_none": ("No known issue was found.", "Aucun problème connu n'a été trouvé."),
    "overview_heading": ("Overview", "Vue d'ensemble"),
    "overview_caption": (
        "Every server and every part of Mastodon: the worst finding of each, in words",
        "Chaque serveur et chaque partie de Mastodon : le constat le plus grave, en toutes lettres",
    ),
    "hosts_heading": ("Servers", "Serveurs"),
    "server": ("Server", "Serveur"),
    "verdict": ("Verdict", "Verdict"),
    "filter_name": ("Find a server", "Chercher un serveur"),
    "filter_verdict": ("Show", "Afficher"),
    "filter_all": ("all", "tous"),
    "shown": ("{n} of {of} servers shown", "{n} serveurs affichés sur {of}"),
    "cell_ok": ("ok", "ok"),
    "cell_none": ("not checked here", "non vérifié ici"),
    "evidence": ("Evidence", "Preuves"),
    "what_to_do": ("What to do", "Que faire"),
    "symptoms_heading": ("Symptoms of this cause", "Symptômes de cette cause"),
    "unknown_heading": ("Could not be checked", "N'a pas pu être vérifié"),
    "unclassified_heading": ("Errors that no known issue explains", "Erreurs qu'aucun problème connu n'explique"),
    "noise_heading": ("Seen, and no fault of this server", "Vu, et pas une panne de ce serveur"),
    "waived_heading": ("Waived", "Dérogations"),
    "probes_heading": ("What was read", "Ce qui a été lu"),
    "affects": ("Affects", "Concerne"),
    "and_more": ("and {n} more", "et {n} autres"),
    "open_all": ("Open all", "Tout ouvrir"),
    "close_all": ("Close all", "Tout fermer"),
    "impact": ("impact", "impact"),
    "rank_root": ("root cause", "cause racine"),
    "made": ("Made {when} by {what}", "Établi le {when} par {what}"),
    "nothing_found": ("Nothing found.", "Rien à signaler."),
    "probe_ok": ("read", "lu"),
    "probe_failed": ("failed", "échec"),
    "probe_timeout": ("no answer in time", "pas de réponse à temps"),
    "probe_skipped": ("not asked for", "non demandé"),
    "probe_denied": ("no permission", "pas de permission"),
    "took": ("in {seconds} s", "en {seconds} s"),
    "whole_run": ("whole run {seconds} s", "durée totale {seconds} s"),
}


def text(key: str, language: str, **values: object) -> str:
    """A word of the report in one language."""
    return TEXTS[key][LANGUAGES.index(language)].format(**values)


def count(key_one: str, key_many: str, number: int, language: str) -> str:
    """A counted word. French counts 0 as one, English as many."""
    return text(key_one if number == 1 or (number == 0 and language == "fr") else key_many, language, n=number)


def headline(verdict: str, number: int, hosts: int, language: str) -> str:
    """The diagnosis in one sentence; `number` hosts have this verdict."""
    many = "_one" if number == 1 else "_many" if number or not hosts or verdict == "unclassified" else "_none"
    key = f"headline_{verdict}" + (many if verdict in ("faults", "incomplete", "unclassified") else "")
    return text(key, language, n=number, of=count("host_one", "host_many", hosts, language))
