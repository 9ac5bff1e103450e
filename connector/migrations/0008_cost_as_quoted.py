from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('connector', '0007_news_that_the_erp_refused'),
    ]

    operations = [
        migrations.AlterField(
            model_name='shipment',
            name='cost_kind',
            field=models.CharField(choices=[('unknown', 'Unknown'), ('rated', 'Rated at ship time'), ('quoted', 'As quoted before buying'), ('invoiced', 'Invoiced'), ('entered', 'Corrected by a person')], default='unknown', max_length=8),
        ),
    ]
