"""The connection profile as IFS delivers it: the vendor's own part of `settings` (sheet 11).

No name of a projection, set or field stands as a constant in client, mapping or adapter: tenants rename them. An
operator's values are merged over `DEFAULTS` key by key. A `null` target means: do not write it, say so in the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from integrations.ifs_cloud.order_defaults import CUSTOMER_ORDER, PURCHASE_ORDER, SUPPLIER_ADDRESS

PAGE_SIZE_CAP = 1000
"""Rows; the largest `$top` that we send (sheet 4.4)."""

_RECEIVER = {f"address{n}": f"ReceiverAddress{n}" for n in range(1, 7)}
_SENDER = {f"address{n}": f"SenderAddress{n}" for n in range(1, 7)}

DEFAULTS: dict[str, Any] = {
    "realm": "",
    "scope": "openid microprofile-jwt",
    "gateway": "main",
    "projection_root": "/ifsapplications/projection/v1",
    "entity_root": "/int/ifsapplications/entity/v1",
    "page_size": 200,
    "read_timeout_s": None,
    "state_literal": "enum",
    "weight_unit": "kg",
    "length_unit": "cm",
    "default_package": None,
    "site": {"service": "SitesHandling", "set": "Reference_CompanySite", "company_field": "Company", "site_field": "Contract"},
    "shipment": {
        "service": "ShipmentHandling",
        "set": "ShipmentSet",
        "key": ["ShipmentId"],
        "state_field": "Objstate",
        "site_field": "Contract",
        "state_enum": "ShipmentState",
        "ready_states": ["Completed"],
        "cancelled_states": ["Cancelled"],
        "ready_filter": None,
        "poll": {
            "strategy": "etag_window",
            "stamp_field": None,
            "date_field": "PlannedShipDate",
            "date_type": "datetime",
            "window_days": 30,
            "history": {
                "service": "HistoryLogHandling",
                "set": "HistoryLogOverviewSet",
                "key_field": "LogId",
                "unit_field": "LuName",
                "unit": "Shipment",
                "time_field": "TimeStamp",
                "keys_field": "Keys",
            },
        },
        "tracking_field": "AirwayBillNo",
        "forwarder_field": "ForwardAgentId",
        "ship_via_field": "ShipViaCode",
        "ship_date_field": "ActualShipDate",
        "planned_date_field": "PlannedShipDate",
        "weight_field": "ManualGrossWeight",
        "delivery_terms_field": "DeliveryTerms",
        "quote_field": None,
        "quote_currency_field": None,
        "status_field": None,
        "status_time_field": None,
        "estimated_delivery_field": None,
        "delivered_field": None,
        "signed_by_field": None,
        "receiver_type_field": "ReceiverType",
        "receiver_id_field": "ReceiverId",
        "receiver_address_id_field": "ReceiverAddrId",
        "receiver": {
            "name": "ReceiverAddressName",
            **_RECEIVER,
            "city": "ReceiverCity",
            "state": "ReceiverState",
            "postal_code": "ReceiverZipCode",
            "country": "ReceiverCountry",
            "contact": "ReceiverContactName",
            "phone": None,
            "email": None,
        },
        "sender": {
            "name": "SenderName",
            **_SENDER,
            "city": "SenderCity",
            "state": "SenderState",
            "postal_code": "SenderZipCode",
            "country": "SenderCountry",
            "contact": None,
            "phone": None,
            "email": None,
        },
        "lines": {
            "service": None,
            "set": "ShipmentLineSet",
            "line_field": "ShipmentLineNo",
            "part_field": "SourcePartNo",
            "description_field": "SourcePartDescription",
            "quantity_field": "InventoryQty",
            "unit_field": "SourceUnitMeas",
            "source_type_field": "SourceRefType",
            "order_field": "SourceRef1",
            "order_line_field": "SourceRef2",
            "order_release_field": "SourceRef3",
            "order_item_field": "SourceRef4",
        },
        "actions": {"complete": None, "deliver": None, "close": None},
    },
    "handling_unit": {
        "service": "HandlingUnitsHandling",
        "set": "HandlingUnits",
        "shipment_field": "ShipmentId",
        "id_field": "HandlingUnitId",
        "parent_field": "ParentHandlingUnitId",
        "operative_weight_field": "OperativeGrossWeight",
        "manual_weight_field": "ManualGrossWeight",
        "weight_unit_field": "UomForWeight",
        "width_field": "Width",
        "height_field": "Height",
        "depth_field": "Depth",
        "length_unit_field": "UomForLength",
    },
    "customer_address": {
        "service": "CustomerHandling",
        "set": "Reference_CustomerInfoAddressPublic",
        "customer_field": "CustomerId",
        "address_field": "AddressId",
        "fields": {
            "name": "Name",
            "address1": "Address1",
            "address2": "Address2",
            "address3": None,
            "address4": None,
            "address5": None,
            "address6": None,
            "city": "City",
            "state": "State",
            "postal_code": "ZipCode",
            "country": "Country",
            "contact": None,
            "phone": None,
            "email": None,
        },
    },
    "customer_order": CUSTOMER_ORDER,
    "customer_order_charge": {
        "nav": "CustomerOrderChargeArray",
        "charge_type": "FREIGHT",
        "cost_field": "ChargeCost",
        "amount_mode": "zero",
        "amount_percent": None,
        "enabled": True,
        "number_field": "SequenceNo",
        "invoiced_field": "InvoicedQty",
        "marker_field": None,
        "unit": "EA",
    },
    "purchase_order": PURCHASE_ORDER,
    "supplier_address": SUPPLIER_ADDRESS,
    "return": {
        "mode": "rma",
        "service": "ReturnMaterialAuthorizationHandling",
        "set": "ReturnMaterialSet",
        "lines_nav": "ReturnMaterialLinesArray",
        "default_reason": "RETURN",
    },
    "inventory": {
        "service": "InventoryPartInStockHandling",
        "set": "InventoryPartInStockSet",
        "qty_field": "AvailableQty",
        "exclude_availability": [],
        "write_mode": "report",
    },
    "accounting": {
        "service": "VoucherRowsAnalysis",
        "account_set": "Reference_Account",
        "code_part_set": "Reference_{part}",
        "cost_center_code_part": "CodeB",
        "pre_posting": {
            "service": None,
            "set": "PreAccountingSet",
            "key_field": "PreAccountingId",
            "account_field": "AccountNo",
            "part_prefix": "Codeno",
        },
    },
    "labels": {
        "storage": "document",
        "doc_class": "LABEL",
        "file_types": ["pdf"],
        "service": "CreateAndImportDocument",
        "create_action": "CreateDocument",
        "url_action": "GetDocumentUrl",
        "connect_action": "ConnectObject",
        "search": {"service": "DocReferenceObjectAttachmentHandling", "set": "DocIssueSet", "title_field": "Title"},
        "connected": {"service": "DocReferenceObjectAttachmentHandling", "set": "DocReferenceObjectSet"},
        "media": {
            "service": "MediaLibraryAttachmentHandling",
            "set": "MediaItemSet",
            "create_action": "CreateAndConnectMedia",
            "key_field": "ItemId",
            "title_field": "Name",
            "object_field": "MediaObject",
        },
    },
    "fulfillment": {"mode": "shipment_update"},
}


def merged(over: Mapping[str, Any], under: Mapping[str, Any] = DEFAULTS) -> dict[str, Any]:
    """`over` laid over the defaults, blocks key by key, everything else replaced."""
    result = dict(under)
    for key, value in over.items():
        below = under.get(key)
        result[key] = merged(value, below) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return result
