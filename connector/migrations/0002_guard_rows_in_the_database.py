"""Rules that must hold even for somebody with a database shell: the audit is append-only, integrations stay in one tenant."""

from django.db import migrations

from connector.triggers import install, remove


class Migration(migrations.Migration):
    dependencies = [("connector", "0001_initial")]
    operations = [migrations.RunPython(lambda apps, editor: install(editor.connection), lambda apps, editor: remove(editor.connection))]
