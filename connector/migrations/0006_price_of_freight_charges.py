from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('connector', '0005_charges_of_order_lines'),
    ]

    operations = [
        migrations.AddField(
            model_name='freightcharge',
            name='markup',
            field=models.DecimalField(decimal_places=4, max_digits=8, null=True),
        ),
    ]
