#!/usr/bin/env python3
# mypy: ignore-errors
"""Check an export of the audit. Needs Python and this file, nothing else.

    python3 audit_verifier.py audit.jsonl                  # chains: nothing changed, nothing missing in between
    AUDIT_KEY=... python3 audit_verifier.py audit.jsonl    # and the seals of a whole installation
    ... audit.jsonl --seals kept-elsewhere.jsonl           # and that seals kept outside are still what stands there

Exit code 0: all fits; 1: something does not, one line each; 2: the file cannot be read.

What it does not prove: that the program wrote down what really happened, or that entries after the last seal are
all there.
"""

import hashlib
import hmac
import json
import os
import sys


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def entry_hash(entry):
    names = ("chain", "sequence", "tenant", "at", "actor", "act", "object_type", "object_id", "object_name", "facts")
    told = [entry[name] for name in (*names, "detail_digest", "previous")]
    return hashlib.sha256(canonical(told).encode()).hexdigest()


def seal_mac(seal, key):
    told = [seal[name] for name in ("number", "from_id", "to_id", "entries", "digest", "at", "previous")]
    return hmac.new(key.encode(), canonical(told).encode(), hashlib.sha256).hexdigest()


def check(lines, key, kept):
    """Yield what does not fit. `lines` is an iterable of text, `kept` maps seal numbers to macs kept elsewhere."""
    heads, ids, seals, whole = {}, [], [], False
    for number, text in enumerate(lines, 1):
        row = json.loads(text)
        if row["type"] == "audit":
            whole = row["scope"] == "installation"
        elif row["type"] == "entry":
            sequence, last = heads.get(row["chain"], (0, ""))
            place = f"{row['chain']} entry {row['sequence']} (line {number})"
            if row["sequence"] != sequence + 1:
                yield f"{place}: entry {sequence + 1} is missing"
            elif row["previous"] != last:
                yield f"{place}: does not follow from the entry before it"
            if entry_hash(row) != row["hash"]:
                yield f"{place}: was changed"
            heads[row["chain"]] = (row["sequence"], row["hash"])
            ids.append((row["id"], row["hash"]))
        elif row["type"] == "seal":
            seals.append(row)
    if whole:
        yield from check_seals(sorted(ids), seals, key, kept)


def check_seals(ids, seals, key, kept):
    mark = hashlib.sha256(b"mark:" + key.encode()).hexdigest()[:12] if key else ""
    previous, place = None, 0
    for seal in seals:
        name = f"seal {seal['number']}"
        if seal["number"] != (previous["number"] + 1 if previous else 1):
            yield f"{name}: a seal before it is missing"
        elif seal["previous"] != (previous["mac"] if previous else ""):
            yield f"{name}: does not follow from the seal before it"
        found, count = hashlib.sha256(), 0
        while place < len(ids) and ids[place][0] <= seal["to_id"]:
            found.update(f"{ids[place][0]}:{ids[place][1]}\n".encode())
            place, count = place + 1, count + 1
        if (count, found.hexdigest()) != (seal["entries"], seal["digest"]):
            yield f"{name}: does not fit the entries: some were added, removed or changed after it was made"
        if key and seal["key_mark"] != mark:
            yield f"{name}: was made with another key"
        elif key and not hmac.compare_digest(seal_mac(seal, key), seal["mac"]):
            yield f"{name}: was changed, or made without the key"
        if kept.pop(seal["number"], seal["mac"]) != seal["mac"]:
            yield f"{name}: is not the one that was kept elsewhere"
        previous = seal
    for number in sorted(kept):
        yield f"seal {number}: was kept elsewhere and is missing here"


def main(arguments):
    try:
        kept = {}
        if len(arguments) == 3 and arguments[1] == "--seals":
            with open(arguments[2], encoding="utf-8") as handle:
                rows = [json.loads(text) for text in handle]
            kept = {row["number"]: row["mac"] for row in rows if row["type"] == "seal"}
        elif len(arguments) != 1:
            print(__doc__, file=sys.stderr)
            return 2
        with open(arguments[0], encoding="utf-8") as handle:
            findings = list(check(handle, os.environ.get("AUDIT_KEY", ""), kept))
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"this is no export of the audit that can be read: {error!r}", file=sys.stderr)
        return 2
    for text in findings:
        print(text)
    print(f"{len(findings)} finding(s)" if findings else "all fits")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
