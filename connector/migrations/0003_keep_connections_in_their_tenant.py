"""A connection that an integration uses cannot move to another tenant either (DESIGN 8)."""

from django.db import migrations

from connector.triggers import install


class Migration(migrations.Migration):
    dependencies = [("connector", "0002_guard_rows_in_the_database")]
    operations = [migrations.RunPython(lambda apps, editor: install(editor.connection), migrations.RunPython.noop)]
