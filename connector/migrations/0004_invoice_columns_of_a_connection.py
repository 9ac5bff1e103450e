from django.db import migrations, models

from connector.triggers import install, remove


def of_the_newest_file(apps, schema_editor):
    """What a connection's newest invoice file was read by goes on holding for its next one."""
    connections, files = apps.get_model("connector", "Connection"), apps.get_model("connector", "InvoiceFile")
    for pk in files.objects.exclude(mapping={}).values_list("carrier", flat=True).distinct():
        newest = files.objects.filter(carrier=pk).exclude(mapping={}).order_by("-pk").first()
        connections.objects.filter(pk=pk).update(invoice_columns=newest.mapping)


def without_triggers(apps, schema_editor):
    """SQLite makes the table anew, and a trigger that names it stands in the way."""
    remove(schema_editor.connection)


def with_triggers(apps, schema_editor):
    install(schema_editor.connection)


class Migration(migrations.Migration):

    dependencies = [
        ('connector', '0003_alert_of_unreadable_posts'),
    ]

    operations = [
        migrations.RunPython(without_triggers, with_triggers),
        migrations.AddField(
            model_name='connection',
            name='invoice_columns',
            field=models.JSONField(blank=True, default=dict),
        ),
        migrations.RunPython(with_triggers, without_triggers),
        migrations.RunPython(of_the_newest_file, migrations.RunPython.noop),
    ]
