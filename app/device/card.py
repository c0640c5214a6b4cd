"""The device card: what a manifest says, as sections for a person, and as a page to sign.

The page stands alone: no script, no font and no picture from elsewhere, so that it prints and
archives as it is. Nothing in it comes from outside the signed manifest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from app.contracts.manifest import Manifest, Proportion, SubgroupRow
from app.contracts.signing import sha256

FEWEST_POSITIVES = 10  # fewer, and an estimate is not shown (medical convention; the row stays)


@dataclass(frozen=True, slots=True)
class Section:
    """One table of the card; `numeric` columns, by place, are set right."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numeric: frozenset[int] = frozenset()


def sections(manifest: Manifest) -> Iterator[Section]:
    """The card's tables, in reading order."""
    yield Section("Identity", ("", ""), _identity(manifest))
    yield Section("Input limits", ("attribute", "inside"), _limits(manifest))
    yield Section("Chain", ("stage", "kind", "program", "parameters"), _stages(manifest))
    yield Section("Operating points", ("id", "stage", "flags at or above"), _points(manifest))
    yield Section(
        "Change control",
        ("stage", "scanner class", "lowest", "highest", "largest step", "days between"),
        _envelope(manifest),
        frozenset({2, 3, 4, 5}),
    )
    yield Section(
        "Performance by sub-group",
        (
            "sub-group",
            "cases",
            "positive",
            "sensitivity (95 %)",
            "specificity (95 %)",
            "AUC (95 %)",
        ),
        [_subgroup(row) for row in manifest.validation.subgroups],
        frozenset({1, 2}),
    )
    yield Section("Lineage", ("", ""), _lineage(manifest))
    yield Section("Lock proof", ("", ""), _proof(manifest))
    yield Section(
        "Files",
        ("file", "bytes", "SHA-256"),
        [(f.path, str(f.length), f.sha256) for f in manifest.files],
        frozenset({1}),
    )
    yield Section(
        "Software",
        ("component", "version"),
        [(c.name, c.version) for c in manifest.components],
    )


def page(manifest: Manifest, signers: Sequence[bytes]) -> str:
    """The card as one HTML page; `signers`: public keys whose signatures were verified."""
    tables = "\n".join(_table(section) for section in sections(manifest))
    keys = "".join(f"<li><code>{sha256(key)}</code></li>" for key in signers)
    title = escape(f"{manifest.device} {manifest.version}")
    return _PAGE.format(
        title=title,
        use=escape(manifest.intended_use),
        digest=manifest.lock_digest,
        keys=keys,
        tables=tables,
        style=_STYLE,
    )


def _identity(manifest: Manifest) -> list[tuple[str, str]]:
    until = manifest.install_until
    return [
        ("lock digest", manifest.lock_digest),
        ("UDI-DI", manifest.udi_di),
        ("release", str(manifest.release_counter)),
        ("pattern", manifest.pattern),
        ("finding", manifest.finding),
        ("oldest agent", manifest.minimum_agent),
        ("to be installed until", until.isoformat() if until else "any day"),
    ]


def _limits(manifest: Manifest) -> list[tuple[str, str]]:
    limits = manifest.input_limits
    rows = [(a.attribute, " or ".join(a.values)) for a in limits.allowed]
    rows += [(r.attribute, f"{r.lowest:g} to {r.highest:g}") for r in limits.ranges]
    missing = ", or missing"
    return [(name, text + missing * (name in limits.may_be_missing)) for name, text in rows]


def _stages(manifest: Manifest) -> list[tuple[str, str, str, str]]:
    return [
        (
            s.name,
            s.kind,
            s.program or "",
            ", ".join(f"{k} {v:.6g}" for k, v in s.parameters.items()),
        )
        for s in manifest.stages
    ]


def _points(manifest: Manifest) -> list[tuple[str, str, str]]:
    return [
        (
            p.id + " (default)" * (p.id == manifest.default_operating_point),
            t.stage,
            f"{t.value:.4f}",
        )
        for p in manifest.operating_points
        for t in p.thresholds
    ]


def _envelope(manifest: Manifest) -> list[tuple[str, ...]]:
    return [
        (
            b.stage,
            b.scanner_class or "every",
            f"{b.lowest:.4f}",
            f"{b.highest:.4f}",
            f"{b.largest_step:.4f}",
            str(b.fewest_days_between),
        )
        for b in manifest.change_control
    ]


def _subgroup(row: SubgroupRow) -> tuple[str, ...]:
    auc = "not estimable"
    if row.auc is not None and row.positives >= FEWEST_POSITIVES:
        auc = f"{row.auc:.3f}"
        if row.auc_low is not None and row.auc_high is not None:
            auc += f" ({row.auc_low:.3f} to {row.auc_high:.3f})"
    few = row.positives < FEWEST_POSITIVES
    sensitivity = "not estimable" if few else _proportion(row.sensitivity)
    name = "all" if row.margin == "all" else f"{row.margin}: {row.level}"
    return (
        name,
        str(row.cases),
        str(row.positives),
        sensitivity,
        _proportion(row.specificity),
        auc,
    )


def _proportion(share: Proportion | None) -> str:
    if share is None or not share.n:
        return "not estimable"
    return f"{share.successes / share.n:.3f} ({share.low:.3f} to {share.high:.3f})"


def _lineage(manifest: Manifest) -> list[tuple[str, str]]:
    cohort = manifest.validation
    rows = [
        ("validation cases", str(cohort.cases)),
        ("prevalence", f"{cohort.prevalence:.3f}"),
        ("training code", cohort.training_commit),
        ("evaluation code", cohort.evaluation_commit),
    ]
    rows += [(f"data set {i}", digest) for i, digest in enumerate(cohort.dataset_digests, start=1)]
    return rows + list(manifest.environment.items())


def _proof(manifest: Manifest) -> list[tuple[str, str]]:
    answers = manifest.known_answers
    rows = [
        ("known-answer cases", f"{answers.cases}, each within {answers.tolerance:g} in probability")
    ]
    if manifest.sentinel is not None:
        kept = manifest.sentinel
        rows.append(
            ("sentinel images", f"{kept.cases}, each within {kept.tolerance:g} in probability")
        )
    return rows


def _table(section: Section) -> str:
    def cell(tag: str, place: int, text: str) -> str:
        right = ' class="n"' if place in section.numeric else ""
        return f"<{tag}{right}>{escape(text)}</{tag}>"

    def line(tag: str, texts: Sequence[str]) -> str:
        return "<tr>" + "".join(cell(tag, i, text) for i, text in enumerate(texts)) + "</tr>"

    head = f"<thead>{line('th', section.columns)}</thead>" if any(section.columns) else ""
    body = "".join(line("td", row) for row in section.rows)
    none = "" if section.rows else "<p>None.</p>"
    return f"<h2>{escape(section.title)}</h2>{none}<table>{head}<tbody>{body}</tbody></table>"


_STYLE = """
body { font: 14px/1.45 "DejaVu Sans", Arial, sans-serif; color: #1a1a1a; max-width: 58rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.05rem; margin: 1.6rem 0 .3rem; }
table { border-collapse: collapse; width: 100%; } tr { break-inside: avoid; }
th, td { text-align: left; vertical-align: top; padding: .25rem .7rem .25rem 0;
  border-bottom: 1px solid #d6d6d6; overflow-wrap: break-word; }
th { font-weight: 600; border-bottom-color: #777; } .n { text-align: right; padding-right: 1.4rem; }
td:first-child { min-width: 9rem; } code { overflow-wrap: anywhere; }
.sign td { height: 2.6rem; border-bottom: 1px solid #777; }
@media print { body { margin: 0; max-width: none; font-size: 10px; } h2 { break-after: avoid; } }
"""
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}: device card</title>
<style>{style}</style></head><body>
<h1>{title}</h1>
<p>{use}</p>
<p>Lock digest <code>{digest}</code>. Signed, and verified when this card was made, by the keys</p>
<ul>{keys}</ul>
{tables}
<h2>Signatures</h2>
<p>I have compared this card with the release record. My signature refers to the lock digest
above.</p>
<table class="sign"><thead><tr><th>meaning</th><th>printed name</th><th>signature</th>
<th>date and time</th></tr></thead><tbody>
<tr><td>author</td><td></td><td></td><td></td></tr>
<tr><td>review</td><td></td><td></td><td></td></tr>
<tr><td>approval</td><td></td><td></td><td></td></tr></tbody></table>
</body></html>
"""
