"""URLs: the admin at the root of everything people do, and the doors for machines."""

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from connector import views

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index"), name="home"),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    path("metrics", views.metrics_text, name="metrics"),
    path("hooks/<slug:slug>/", views.hook, name="hook"),
    path("admin/", admin.site.urls),
]
