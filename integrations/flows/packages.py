"""Packages of a document: weights and sizes in units that a carrier understands. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from integrations.base.errors import Rejected
from integrations.base.records import (
    Dimensions,
    Document,
    HandlingUnit,
    LengthUnit,
    PackageSpec,
    Weight,
    WeightUnit,
)
from integrations.flows.slots import ShipContext

WEIGHT_UNITS = {
    "kg": WeightUnit.KG, "kgs": WeightUnit.KG, "kilogram": WeightUnit.KG, "kilograms": WeightUnit.KG,
    "lb": WeightUnit.LB, "lbs": WeightUnit.LB, "pound": WeightUnit.LB, "pounds": WeightUnit.LB,
    "g": WeightUnit.G, "gram": WeightUnit.G, "grams": WeightUnit.G,
    "oz": WeightUnit.OZ, "ounce": WeightUnit.OZ, "ounces": WeightUnit.OZ,
}  # fmt: skip
LENGTH_UNITS = {
    "cm": LengthUnit.CM, "centimeter": LengthUnit.CM, "centimetre": LengthUnit.CM,
    "in": LengthUnit.IN, "inch": LengthUnit.IN, "inches": LengthUnit.IN, "\"": LengthUnit.IN,
    "mm": LengthUnit.MM, "millimeter": LengthUnit.MM, "m": LengthUnit.M, "meter": LengthUnit.M,
}  # fmt: skip


def packages_of(context: ShipContext, document: Document) -> tuple[PackageSpec, ...]:
    """Top handling units with weights, else the header's weight as one package, else the default package. Raises Rejected."""
    units = document.handling_units
    weighed = [u for u in units if u.weight]
    if units and len(weighed) == len(units):
        return tuple(
            PackageSpec(u.unit_id, weight_of(context, u.weight, u.weight_unit, u.unit_id), size_of(context, u)) for u in units
        )
    if weighed:
        without = ", ".join(u.unit_id for u in units if not u.weight)
        raise Rejected(
            f"Handling unit {without} has no weight, others have one.",
            code="weight_missing",
            field="handling_unit.weight",
            remedy="Weigh it in the ERP, then replay.",
        )
    default = context.erp_settings.get("default_package")
    if document.header_weight:
        size = size_of(context, units[0]) if len(units) == 1 else None
        weight = weight_of(context, document.header_weight, document.header_weight_unit, "header")
        return (PackageSpec(units[0].unit_id if len(units) == 1 else "1", weight, size),)
    if default:
        return tuple(_default_package(context, default, u.unit_id) for u in units) or (_default_package(context, default, "1"),)
    raise Rejected(
        "No weight: neither on handling units nor on the header, and no default package is set.",
        code="weight_missing",
        field="weight",
        remedy="Enter the gross weight in the ERP, or set a default package in the connection's settings; then replay.",
    )


def weight_of(context: ShipContext, value: Decimal | None, unit: str, where: str) -> Weight:
    told = unit or str(context.erp_settings.get("weight_unit") or "kg")
    known = WEIGHT_UNITS.get(told.strip().casefold())
    if known is None:
        raise Rejected(
            f"“{told}” is not a unit of weight we know (at {where}).",
            code="unknown_unit",
            field="weight_unit",
            remedy="Use kg, g, lb or oz in the ERP, then replay.",
        )
    return Weight(Decimal(value or 0), known)


def size_of(context: ShipContext, unit: HandlingUnit) -> Dimensions | None:
    if not (unit.length and unit.width and unit.height):
        return None
    told = unit.length_unit or str(context.erp_settings.get("length_unit") or "cm")
    known = LENGTH_UNITS.get(told.strip().casefold())
    if known is None:
        raise Rejected(
            f"“{told}” is not a unit of length we know (handling unit {unit.unit_id}).",
            code="unknown_unit",
            field="length_unit",
            remedy="Use cm, mm, m or in in the ERP, then replay.",
        )
    return Dimensions(unit.length, unit.width, unit.height, known)


def _default_package(context: ShipContext, default: Mapping[str, Any], package_id: str) -> PackageSpec:
    length, width, height = (Decimal(str(default.get(k) or 0)) for k in ("length", "width", "height"))
    unit = LENGTH_UNITS.get(str(default.get("dim_unit") or "cm").casefold(), LengthUnit.CM)
    size = Dimensions(length, width, height, unit) if length and width and height else None
    weight = weight_of(context, Decimal(str(default["weight"])), str(default.get("unit") or ""), "default package")
    return PackageSpec(package_id, weight, size)
