from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('connector', '0006_price_of_freight_charges'),
    ]

    operations = [
        migrations.AddField(
            model_name='shipment',
            name='picture_refused',
            field=models.JSONField(null=True),
        ),
    ]
