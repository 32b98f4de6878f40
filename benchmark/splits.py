"""Which document plays which part: one logic for every task and every source of text.

A domain's documents are put in an order drawn by a seeded hash of their ids and dealt out by share: the *forget* set,
the *retain* set that a method sees, *retain_eval* that only the harness sees, and the *holdout* that no model is
trained on. Where the source fixes the roles (a `split` field), they are taken as they are. Each evaluation set is
halved, by document, into validation (operating points and hyper-parameters are chosen there) and test (reported).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmark.corpus import ROLES, Corpus, Document
from benchmark.errors import InputError
from benchmark.task import Task

SHARES = {"forget": 1 / 8, "holdout": 1 / 8, "retain_eval": 1 / 4, "retain": 1 / 2}
"""Share of a domain's documents in each role, where the source does not say."""

EVALUATION_SETS = ("forget", "retain", "general", "holdout")
"""The sets that every model is measured on, in the order of the tables."""


@dataclass(frozen=True)
class Halves:
    """An evaluation set: choose on `validation`, report on `test`."""

    validation: tuple[Document, ...]
    test: tuple[Document, ...]


@dataclass(frozen=True)
class Splits:
    """The documents of one task. What a method sees and what is evaluated share no kept document.

    `forget`, `retain` and `general` are for the method. `evaluation` holds the halves of each evaluation set; a set
    that the data cannot give is absent. `trained` is what the target model saw, `reference` what the reference sees.
    """

    forget: tuple[Document, ...]
    retain: tuple[Document, ...]
    general: tuple[Document, ...]
    evaluation: Mapping[str, Halves]
    trained: tuple[Document, ...]
    reference: tuple[Document, ...]
    domains: Mapping[str, str] = field(default_factory=dict)
    """Of each document to be kept, by its id."""

    def fingerprint(self) -> str:
        """SHA-256 over the role and the text of every document."""
        parts: dict[str, Sequence[Document]] = {"forget": self.forget, "retain": self.retain, "general": self.general}
        for name, halves in self.evaluation.items():
            parts |= {f"{name}/validation": halves.validation, f"{name}/test": halves.test}
        digest = hashlib.sha256()
        for part in sorted(parts):
            for document in parts[part]:
                digest.update(json.dumps([part, document.id, document.text]).encode())
        return digest.hexdigest()


def deal(documents: Iterable[Document], seed: int = 0) -> dict[str, tuple[Document, ...]]:
    """Give every document of one domain its role.

    Raises:
        InputError: only some documents have a role of their own, a text has two roles, or there are too few for every role to
            have two.
    """
    ordered = drawn(documents, f"role:{seed}")
    fixed = [document.role is not None for document in ordered]
    if any(fixed) and not all(fixed):
        without = next(document.id for document in ordered if document.role is None)
        raise InputError(f"document {without!r} has no split while others have one; give every document a split, or none")
    if ordered and all(fixed):
        _check_disjoint(ordered)
        roles = {role: tuple(d for d in ordered if d.role == role) for role in ROLES}
        if not roles["retain_eval"]:  # evaluation text is never a method's: take a third of the retain documents
            cut = len(roles["retain"]) // 3
            roles["retain_eval"], roles["retain"] = roles["retain"][:cut], roles["retain"][cut:]
    else:
        roles, start = {}, 0
        for role, share in SHARES.items():
            count = round(share * len(ordered)) if role != "retain" else len(ordered) - start
            roles[role] = ordered[start : start + count]
            start += count
    short = [role for role, chosen in roles.items() if len(chosen) < 2]
    if short:
        raise InputError(
            f"{len(ordered)} documents are too few to split: {', '.join(short)} would have fewer than 2; "
            "a domain needs at least 16 documents (or 2 for every split it names)"
        )
    return roles


def _check_disjoint(documents: Iterable[Document]) -> None:
    first: dict[str, Document] = {}
    for document in documents:
        other = first.setdefault(document.text.strip(), document)
        if other.role != document.role:
            one, two = sorted((f"{other.id!r} ({other.role})", f"{document.id!r} ({document.role})"))
            raise InputError(f"documents {one} and {two} have the same text; a text can have one role only, so drop one of them")


def drawn(documents: Iterable[Document], salt: str) -> tuple[Document, ...]:
    """The documents in an order that depends on nothing but their ids and the salt."""
    return tuple(sorted(documents, key=lambda d: hashlib.sha256(f"{salt}:{d.id}".encode()).digest()))


def halve(documents: Iterable[Document]) -> Halves:
    """Deal documents alternately into validation and test."""
    ordered = drawn(documents, "half")
    return Halves(ordered[0::2], ordered[1::2])


def split(task: Task, corpus: Corpus) -> Splits:
    """The documents of a task.

    For `removes="documents"`: some documents of the domain are forgotten and judged on themselves; the domain's other
    documents are retained, everything outside the domain is general. For `removes="domain"`: all the domain's training
    documents are forgotten, judged on its holdout; the other domains are retained, the rest is general.

    Raises:
        InputError: the corpus lacks the domain, or has too few documents.
    """
    corpus.documents(task.domain)
    dealt = {}
    for domain in corpus.domains:
        try:
            dealt[domain] = deal(corpus.domains[domain])
        except InputError as error:
            raise InputError(f"{corpus.path}: domain {domain!r}: {error}") from None
    own = dealt[task.domain]
    others = {domain: roles for domain, roles in dealt.items() if domain != task.domain}
    trained = _join(roles[role] for roles in dealt.values() for role in ("forget", "retain", "retain_eval"))
    if task.removes == "documents":
        forget, forget_eval = own["forget"], own["forget"]
        retained, general = [own], list(others.values())
        retain, holdout = own["retain"], own["holdout"]
    else:
        forget = _join(own[role] for role in ("forget", "retain"))
        forget_eval = own["holdout"]
        retained = [roles for domain, roles in others.items() if domain not in task.general_domains]
        general = [roles for domain, roles in others.items() if domain in task.general_domains]
        retain = _join(roles[role] for roles in retained for role in ("forget", "retain"))
        holdout = _join(roles["holdout"] for roles in retained)
        if not retained:
            raise InputError(f"{corpus.path}: task {task.name!r} keeps the other domains, and there is none beside {task.domain!r}")
    gone = {
        document.id for role in ("forget", *(() if task.removes == "documents" else ("retain", "retain_eval"))) for document in own[role]
    }
    evaluation = {
        "forget": halve(forget_eval),
        "retain": halve(_join(roles["retain_eval"] for roles in retained)),
        "holdout": halve(holdout),
    }
    if general:
        evaluation["general"] = halve(_join(roles["retain_eval"] for roles in general))
    return Splits(
        forget=forget,
        retain=drawn(retain, "retain"),
        general=drawn(_join(roles[role] for roles in general for role in ("forget", "retain")), "general"),
        evaluation=evaluation,
        trained=trained,
        reference=tuple(document for document in trained if document.id not in gone),
        domains={document.id: domain for domain, documents in corpus.domains.items() for document in documents},
    )


def _join(groups: Iterable[Iterable[Document]]) -> tuple[Document, ...]:
    return tuple(document for group in groups for document in group)
