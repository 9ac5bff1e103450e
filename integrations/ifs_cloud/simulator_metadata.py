"""The `$metadata` of the simulated projections (sheet 2)."""

from __future__ import annotations

from functools import cache
from xml.sax.saxutils import quoteattr

from integrations.ifs_cloud.simulator_entities import schema_for
from integrations.ifs_cloud.simulator_schema import DECIMAL, ENUMS


@cache
def metadata(kind: str, service: str) -> str:
    """The EDMX 4.0 document of one service (sheet 2, `$metadata`)."""
    schema = schema_for(kind)
    sets = schema.projections.get(service) or schema.entity_services[service]
    namespace = f"IfsApp.{service}"
    used = {name: schema.shown(service, name) for name in dict.fromkeys(sets.values())}
    set_of = {entity: name for name, entity in sets.items()}
    enums = dict.fromkeys(c.type for e in used.values() for c in e.columns.values() if c.is_enum)
    out = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices>',
        f'<Schema Namespace={quoteattr(namespace)} xmlns="http://docs.oasis-open.org/odata/ns/edm">',
    ]
    for enum in enums:
        out.append(f'<EnumType Name="{enum}">')
        out += [f'<Member Name="{member}" Value="{i}"/>' for i, member in enumerate(ENUMS[enum])]
        out.append("</EnumType>")
    for entity in used.values():
        out.append(f'<EntityType Name="{entity.name}"><Key>')
        out += [f'<PropertyRef Name="{key}"/>' for key in entity.keys]
        out.append("</Key>")
        for column in entity.columns.values():
            facets = f' MaxLength="{column.max_length}"' if column.max_length else ""
            if column.type == DECIMAL:
                facets = ' Precision="130" Scale="65"'
            if column.name in entity.keys:
                facets += ' Nullable="false"'
            out.append(f'<Property Name="{column.name}" Type="{column.edm(namespace)}"{facets}/>')
        for name, navigation in entity.references.items():
            if navigation.target in used:
                constraints = "".join(
                    f'<ReferentialConstraint Property="{own}" ReferencedProperty="{theirs}"/>' for own, theirs in navigation.on
                )
                out.append(
                    f'<NavigationProperty Name="{name}" Type="{namespace}.{navigation.target}">{constraints}</NavigationProperty>'
                )
        for name, navigation in entity.arrays.items():
            if navigation.target in used:
                out.append(f'<NavigationProperty Name="{name}" Type="Collection({namespace}.{navigation.target})"/>')
        out.append("</EntityType>")
    out.append(f'<EntityContainer Name="{service}">')
    for name, entity_name in sets.items():
        entity = used[entity_name]
        targets = {n: nav.target for n, nav in (entity.references | entity.arrays).items() if nav.target in used}
        bindings = "".join(f'<NavigationPropertyBinding Path="{n}" Target="{set_of[t]}"/>' for n, t in targets.items())
        out.append(f'<EntitySet Name="{name}" EntityType="{namespace}.{entity_name}">{bindings}</EntitySet>')
    out.append("</EntityContainer></Schema></edmx:DataServices></edmx:Edmx>")
    return "".join(out)
