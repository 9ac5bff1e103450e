"""Setting up tenants, connections and integrations: from a file, from a form, with one validation and one audit.

`importing` takes a document, `exporting` gives one, `saving` turns a form's input into a document with one entry.
Between them: `plan` says what should stand afterwards (with `reading`, `connection_checks` and `integration_checks`
for the pieces and `findings` for what is wrong with them), `writing` makes it so.
"""
