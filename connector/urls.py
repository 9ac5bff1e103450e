"""URLs: the admin at the root of everything people do, and the doors for machines."""

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from connector import label_door, views

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index"), name="home"),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    path("metrics", views.metrics_text, name="metrics"),
    path("hooks/<slug:slug>/", views.hook, name="hook"),
    path("label/<str:secret>", label_door.label_link, name="label_link"),
    path("label/<str:secret>/<int:sequence>", label_door.label_link_file, name="label_link_file"),
    # Mail programs and people add a slash at the end of an address.
    path("label/<str:secret>/", label_door.label_link),
    path("label/<str:secret>/<int:sequence>/", label_door.label_link_file),
    path("hooks/<slug:slug>", views.hook),  # somebody forgets the slash, and a redirected post is lost
    path("admin/", admin.site.urls),
]
