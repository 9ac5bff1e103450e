"""What the simulated IFS tenants know: entities with their columns, and the projections that show them.

Field names follow sheet 9.1 to 9.5. The customised tenant (sheet 13) differs by data only: more columns and one
renamed projection. A new flow brings its sets by adding entries to the tables below.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache

from integrations.ifs_cloud.simulator_schema import (
    BOOLEAN,
    DATE,
    DECIMAL,
    INSTANT,
    META_COLUMNS,
    STRING,
    Column,
    Entity,
    Navigation,
    Schema,
)


def _texts(spec: str) -> Iterable[Column]:
    """`Name:35 Other:20!` as text columns; `!` marks those no user may update."""
    for word in spec.split():
        name, _, length = word.partition(":")
        yield Column(name, STRING, int(length.rstrip("!")), writable=not word.endswith("!"))


def _many(kind: str, spec: str) -> Iterable[Column]:
    for word in spec.split():
        yield Column(word.rstrip("!"), kind, writable=not word.endswith("!"))


def _columns(*groups: Iterable[Column]) -> dict[str, Column]:
    """All columns by name; the keys and the members every IFS record has are added here."""
    columns = {column.name: column for group in groups for column in group}
    columns |= {name: Column(name, STRING, 2000, writable=False) for name in META_COLUMNS}
    return columns


def _address(prefix: str) -> str:
    lines = " ".join(f"{prefix}Address{i}:100" for i in range(1, 7))
    return f"{lines} {prefix}City:35 {prefix}State:35 {prefix}ZipCode:35 {prefix}Country:35"


_SHIPMENT = Entity(
    name="Shipment",
    keys=("ShipmentId",),
    columns=_columns(
        _many(DECIMAL, "ShipmentId! ParentConsolShipmentId LoadSequenceNo ManualGrossWeight ManualVolume"),
        [Column("Objstate", "ShipmentState", writable=False)],
        _texts(
            "Contract:5! ReceiverType:20 ReceiverId:50 ReceiverAddrId:50 ReceiverAddressName:100 "
            + _address("Receiver")
            + " ReceiverCounty:35 ReceiverReference:100 ReceiverContactName:100 SenderId:50 SenderAddrId:50 SenderName:100 "
            + _address("Sender")
            + " SenderReference:100 ShipViaCode:20 ForwardAgentId:20 DeliveryTerms:5 DelTermsLocation:100 ShipmentType:3"
            " RouteId:12 ProNo:50 AirwayBillNo:50 ConsignmentNoteId:50 RemitCodTo:100 DelnoteNo:50! AltDelnoteNo:50"
            " ShipInventoryLocationNo:35 NoteText:2000"
        ),
        _many(INSTANT, "CreatedDate! PlannedShipDate ActualShipDate PlannedDeliveryDate"),
    ),
    references={"ContractRef": Navigation("CompanySite", (("Contract", "Contract"),))},
    final=frozenset({"Closed", "Cancelled"}),
    touch="SenderReference",
)

_SHIPMENT_LINE = Entity(
    name="ShipmentLine",
    keys=("ShipmentId", "ShipmentLineNo"),
    columns=_columns(
        _many(DECIMAL, "ShipmentId! ShipmentLineNo! InventoryQty QtyAssigned QtyPicked QtyToReserve"),
        _texts(
            "InventoryPartNo:25 SourcePartNo:25 SourcePartDescription:200 SourceUnitMeas:10 SourceRefType:30 "
            "SourceRef1:50 SourceRef2:50 SourceRef3:50 SourceRef4:50"
        ),
    ),
    references={"ShipmentIdRef": Navigation("Shipment", (("ShipmentId", "ShipmentId"),))},
    writable=False,
    touch="SourcePartDescription",
)

_HANDLING_UNIT = Entity(
    name="HandlingUnit",
    keys=("HandlingUnitId",),
    columns=_columns(
        _many(
            DECIMAL,
            "HandlingUnitId! ParentHandlingUnitId ShipmentId Width Height Depth NetWeight TareWeight ManualGrossWeight "
            "OperativeGrossWeight! ManualVolume OperativeVolume!",
        ),
        _texts(
            "HandlingUnitTypeId:25 HandlingUnitCategoryId:25 Contract:5! LocationNo:35 Sscc:18 SsccNo:18 "
            "AltHandlingUnitLabelId:25 UomForLength:30 UomForWeight:30 UomForVolume:30"
        ),
        _many(BOOLEAN, "MixOfPartNumberBlocked"),
    ),
    touch="LocationNo",
)

_COMPANY_SITE = Entity(
    name="CompanySite",
    keys=("Contract",),
    columns=_columns(_texts("Company:20! Contract:5! Description:100!")),
    writable=False,
    touch="Description",
)

_CUSTOMER_ADDRESS = Entity(
    name="CustomerInfoAddressPublic",
    keys=("CustomerId", "AddressId"),
    columns=_columns(
        _texts("CustomerId:20! AddressId:50! Name:100 Address1:100 Address2:100 ZipCode:35 City:35 State:35 Country:35")
    ),
    writable=False,
    touch="Name",
)

_ORDER = Entity(
    name="CustomerOrder",
    keys=("OrderNo",),
    columns=_columns(
        _texts(
            "OrderNo:12! OrderId:3 Contract:5! Company:20! CustomerNo:20 CustomerName:100 AuthorizeCode:20 BillAddrNo:50 "
            "ShipAddrNo:50 DeliveryTerms:5 ShipViaCode:20 ForwardAgentId:20 CustomerPoNo:50 CustRef:100 ExternalRef:100 "
            "InternalRef:100 LabelNote:100 NoteText:2000 CurrencyCode:3 PayTermId:20 DeliveryCountryCode:2"
        ),
        [Column("Objstate", "CustomerOrderState", writable=False)],
        _many(DECIMAL, "PreAccountingId TotalAmount! Priority"),
        _many(BOOLEAN, "AddrFlagDb ChargesExist!"),
        _many(INSTANT, "DateEntered! WantedDeliveryDate PlannedDeliveryDate"),
    ),
    references={"ContractRef": Navigation("CompanySite", (("Contract", "Contract"),))},
    arrays={
        "OrderLinesArray": Navigation("CustomerOrderLine", (("OrderNo", "OrderNo"),)),
        "CustomerOrderChargeArray": Navigation("CustomerOrderCharge", (("OrderNo", "OrderNo"),)),
    },
    final=frozenset({"Invoiced", "Cancelled"}),
    touch="InternalRef",
)

_ORDER_CHARGE = Entity(
    name="CustomerOrderCharge",
    keys=("OrderNo", "SequenceNo"),
    columns=_columns(
        _texts(
            "OrderNo:12! Contract:5! Company:20! ChargeType:25! SalesUnitMeas:10 DeliveryAddress:50 LineNo:4! RelNo:4! "
            "TaxCode:20 ChargeTypeDescription:35!"
        ),
        _many(
            DECIMAL,
            "SequenceNo! LineItemNo! ShipmentId! ChargedQty ChargeAmount ChargeAmountInclTax BaseChargeAmount "
            "BaseChargeAmtInclTax ChargeCost CurrencyRate InvoicedQty! StatisticalChargeDiff TotalChargeCost!",
        ),
        _many(
            BOOLEAN,
            "CollectDb MultipleTaxLines PrintChargeTypeDb PrintCollectChargeDb IntrastatExempt UnitCharge",
        ),
    ),
    references={"OrderNoRef": Navigation("CustomerOrder", (("OrderNo", "OrderNo"),))},
    touch="TaxCode",
)

_PRE_ACCOUNTING = Entity(
    name="PreAccounting",
    keys=("PreAccountingId",),
    columns=_columns(
        _many(DECIMAL, "PreAccountingId!"),
        _texts(f"Company:20! AccountNo:20 {' '.join(f'Codeno{letter}:20' for letter in 'BCDEFGHIJ')}"),
    ),
    writable=False,
    touch="CodenoJ",
)

_VOUCHER_ROW = Entity(
    name="VoucherRow",
    keys=("Company", "VoucherType", "AccountingYear", "VoucherNo", "RowNo"),
    columns=_columns(
        _texts("Company:20! VoucherType:3! Account:20! CodeB:20! CurrencyCode:3! Text:200! ReferenceNumber:50!"),
        _many(DECIMAL, "AccountingYear! AccountingPeriod! VoucherNo! RowNo! DebetAmount! CreditAmount! Amount!"),
        _many(DATE, "VoucherDate!"),
    ),
    writable=False,
    touch="Text",
)

_ORDER_LINE = Entity(
    name="CustomerOrderLine",
    keys=("OrderNo", "LineNo", "RelNo", "LineItemNo"),
    columns=_columns(
        _texts(
            "OrderNo:12! LineNo:4! RelNo:4! CatalogNo:25 CatalogDesc:200 PartNo:25 Contract:5! SalesUnitMeas:10 "
            "ShipViaCode:20 ForwardAgentId:20 ShipAddrNo:50 AddrFlag:20 NoteText:2000"
        ),
        [Column("Objstate", "CustomerOrderState", writable=False)],
        _many(BOOLEAN, "ShipmentConnectedDb!"),
        _many(
            DECIMAL,
            "LineItemNo! BuyQtyDue QtyAssigned! QtyPicked! QtyShipped! AdjustedWeightNet AdjustedWeightGross PreAccountingId "
            "SaleUnitPrice BaseSaleUnitPrice Discount CustomsValue CurrencyRate ConvFactor InvertedConvFactor",
        ),
        _many(INSTANT, "PlannedShipDate RealShipDate! WantedDeliveryDate"),
    ),
    references={"OrderNoRef": Navigation("CustomerOrder", (("OrderNo", "OrderNo"),))},
    final=frozenset({"Invoiced", "Cancelled"}),
)

_ORDER_ADDRESS = Entity(
    name="CustomerOrderAddress",
    keys=("OrderNo",),
    columns=_columns(
        _texts("OrderNo:12! AddrName:100 " + " ".join(f"Address{i}:100" for i in range(1, 7))),
        _texts("City:35 State:35 ZipCode:35 CountryCode:2"),
    ),
    touch="AddrName",
)

_PURCHASE_ORDER = Entity(
    name="PurchaseOrder",
    keys=("OrderNo",),
    columns=_columns(
        _texts(
            "OrderNo:12! VendorNo:20 Contract:5! Company:20! BuyerCode:20 AuthorizeCode:20 CurrencyCode:3 ShipViaCode:20 "
            "DeliveryTerms:5 ForwardAgentId:20 DeliveryAddress:50 AddrNo:50 DocAddrNo:50 LabelNote:100 NoteText:2000"
        ),
        [Column("Objstate", "PurchaseOrderState", writable=False)],
        _many(DECIMAL, "PreAccountingId"),
        _many(INSTANT, "OrderDate! WantedReceiptDate"),
    ),
    references={"ContractRef": Navigation("CompanySite", (("Contract", "Contract"),))},
    arrays={"PurchaseOrderChargeArray": Navigation("PurchaseOrderCharge", (("OrderNo", "OrderNo"),))},
    final=frozenset({"Closed", "Cancelled"}),
    touch="LabelNote",
)

_PURCHASE_CHARGE = Entity(
    name="PurchaseOrderCharge",
    keys=("OrderNo", "SequenceNo"),
    columns=_columns(
        _texts("OrderNo:12! Contract:5! Company:20! ChargeType:25! VendorNo:20"),
        _many(DECIMAL, "SequenceNo! ChargedQty ChargeAmount PreAccountingId"),
    ),
    touch="VendorNo",
)

_PURCHASE_LINE = Entity(
    name="PurchaseOrderLine",
    keys=("OrderNo", "LineNo", "ReleaseNo"),
    columns=_columns(
        _texts(
            "OrderNo:12! LineNo:4! ReleaseNo:4! PartNo:25 Description:200 BuyUnitMeas:10 CurrencyCode:3 Contract:5! VendorNo:20 "
            "ProjectId:10 NoteText:2000"
        ),
        [Column("Objstate", "PurchaseOrderLineState", writable=False)],
        _many(DECIMAL, "BuyQtyDue BuyUnitPrice NetAmtCurr! GrossAmtCurr!"),
        _many(INSTANT, "WantedDeliveryDate PlannedReceiptDate"),
    ),
    final=frozenset({"Closed", "Cancelled"}),
)

_SUPPLIER_ADDRESS = Entity(
    name="SupplierInfoAddressPublic",
    keys=("SupplierId", "AddressId"),
    columns=_columns(
        _texts("SupplierId:20! AddressId:50! Name:100 Address1:100 Address2:100 ZipCode:35 City:35 State:35 Country:35")
    ),
    writable=False,
    touch="Name",
)

_HISTORY = Entity(
    name="HistoryLog",
    keys=("LogId",),
    columns=_columns(
        _many(DECIMAL, "LogId!"),
        _texts("LuName:30! Username:30! HistoryType:20! Keys:600! Note:2000!"),
        _many(INSTANT, "TimeStamp!"),
    ),
    writable=False,
    touch="Note",
)

# Files and what they hang on (sheet 7); written by actions only, see `simulator_files`.
_DOC_ISSUE = Entity(
    name="DocIssue",
    keys=("DocClass", "DocNo", "DocSheet", "DocRev"),
    columns=_columns(_texts("DocClass:12! DocNo:120! DocSheet:10! DocRev:6! Title:250!")),
    writable=False,
    touch="Title",
)

_DOC_REFERENCE = Entity(
    name="DocReferenceObject",
    keys=("DocClass", "DocNo", "DocSheet", "DocRev", "LuName", "KeyRef"),
    columns=_columns(_texts("DocClass:12! DocNo:120! DocSheet:10! DocRev:6! LuName:30! KeyRef:600!")),
    writable=False,
    touch="KeyRef",
)

_MEDIA_ITEM = Entity(
    name="MediaItem",
    keys=("ItemId",),
    columns=_columns(_many(DECIMAL, "ItemId!"), _texts("Name:250 Description:2000 LuName:30! KeyRef:600! MediaObject:200!")),
    writable=False,
    touch="Description",
)

_PROJECTION = Entity(
    name="Projection",
    keys=("Name",),
    columns=_columns(_texts("Name:100! Description:2000!")),
    writable=False,
)

_ENTITIES = (
    _SHIPMENT,
    _SHIPMENT_LINE,
    _HANDLING_UNIT,
    _COMPANY_SITE,
    _CUSTOMER_ADDRESS,
    _ORDER,
    _ORDER_LINE,
    _ORDER_CHARGE,
    _ORDER_ADDRESS,
    _PURCHASE_ORDER,
    _PURCHASE_LINE,
    _PURCHASE_CHARGE,
    _SUPPLIER_ADDRESS,
    _PRE_ACCOUNTING,
    _VOUCHER_ROW,
    _HISTORY,
    _DOC_ISSUE,
    _DOC_REFERENCE,
    _MEDIA_ITEM,
    _PROJECTION,
)

# Overviews only list; the detail projection of the same unit is the one to write through (sheet 2).
READ_ONLY_PROJECTIONS = frozenset({"CustomerOrdersHandling"})
_ORDERS_OVERVIEW = frozenset(
    {
        *("OrderNo", "Company", "Objstate", "CustomerNo", "CustomerPoNo", "ShipAddrNo", "ShipViaCode", "CurrencyCode"),
        *("DateEntered", "WantedDeliveryDate", "PayTermId", "NoteText"),
    }
)
"""What the overview of orders was seen to hold (sheet 9.2): no site. The customised tenant has widened its own."""

_PROJECTIONS: dict[str, dict[str, str]] = {
    "AllProjections": {"Projections": "Projection"},
    "CreateAndImportDocument": {},
    "CustomerHandling": {"Reference_CustomerInfoAddressPublic": "CustomerInfoAddressPublic"},
    "CustomerOrderHandling": {
        "CustomerOrderSet": "CustomerOrder",
        "CustomerOrderLineSet": "CustomerOrderLine",
        "CustomerOrderChargeSet": "CustomerOrderCharge",
        "Reference_CompanySite": "CompanySite",
    },
    "CustomerOrdersHandling": {"CustomerOrderSet": "CustomerOrder"},
    "DocReferenceObjectAttachmentHandling": {"DocIssueSet": "DocIssue", "DocReferenceObjectSet": "DocReferenceObject"},
    "HandlingUnitsHandling": {"HandlingUnits": "HandlingUnit"},
    "HistoryLogHandling": {"HistoryLogOverviewSet": "HistoryLog"},
    "MediaLibraryAttachmentHandling": {"MediaItemSet": "MediaItem"},
    "PreAccountingHandling": {"PreAccountingSet": "PreAccounting"},
    "PurchaseOrderHandling": {"PurchaseOrderSet": "PurchaseOrder", "PurchaseOrderChargeSet": "PurchaseOrderCharge"},
    "ShipmentHandling": {
        "ShipmentSet": "Shipment",
        "ShipmentLineSet": "ShipmentLine",
        "Reference_CompanySite": "CompanySite",
    },
    "SupplierHandling": {"Reference_SupplierInfoAddressPublic": "SupplierInfoAddressPublic"},
    "SitesHandling": {"Reference_CompanySite": "CompanySite"},
    "VoucherRowsAnalysis": {"VoucherRowSet": "VoucherRow"},
}

_ENTITY_SERVICES = (
    *("Shipment", "ShipmentLine", "HandlingUnit", "CustomerOrder", "CustomerOrderLine", "CustomerOrderAddress"),
    *("PurchaseOrder", "PurchaseOrderLine"),
)

_NEWS_COLUMNS = (
    Column("LastModifiedDate", INSTANT, writable=False),
    Column("Cf_Tracking_No", STRING, 100),
    Column("Cf_Delivery_Status", STRING, 100),
    Column("Cf_Status_Time", INSTANT),
    Column("Cf_Estimated_Arrival", INSTANT),
    Column("Cf_Delivered_At", INSTANT),
    Column("Cf_Signed_By", STRING, 100),
    Column("Cf_Ship_Date", INSTANT),
    Column("Cf_Freight_Quote", DECIMAL),
    Column("Cf_Quote_Currency", STRING, 3),
    Column("Cf_Ready_To_Ship", BOOLEAN),
)
"""What the customised tenant added to every kind of document that ships."""

_CUSTOM_COLUMNS: dict[str, tuple[Column, ...]] = {
    "Shipment": (*_NEWS_COLUMNS, Column("Cf_Receiver_Phone", STRING, 50)),
    "CustomerOrder": _NEWS_COLUMNS,
    "CustomerOrderLine": (
        Column("Cf_Tracking_No", STRING, 100),
        Column("Cf_Origin_Country", STRING, 50),
        Column("Cf_Customs_Stat_No", STRING, 20),
    ),
    "CustomerOrderCharge": (Column("Cf_Freight_Ref", STRING, 50),),
    "PurchaseOrderCharge": (Column("Cf_Freight_Ref", STRING, 50),),
    "PurchaseOrder": _NEWS_COLUMNS,
    "PurchaseOrderLine": (
        Column("Cf_Tracking_No", STRING, 100),
        Column("Cf_Gross_Weight", DECIMAL),
        Column("Cf_Origin_Country", STRING, 50),
    ),
    "SupplierInfoAddressPublic": (Column("Cf_Phone", STRING, 50), Column("Cf_Email", STRING, 200)),
}


@cache
def schema_for(kind: str) -> Schema:
    """The model of a "standard" or a "custom" tenant (sheet 13)."""
    entities = {entity.name: entity for entity in _ENTITIES}
    projections = dict(_PROJECTIONS)
    if kind == "custom":
        for name, more in _CUSTOM_COLUMNS.items():
            entities[name] = replace(entities[name], columns=entities[name].columns | {c.name: c for c in more})
        projections["CShipmentHandling"] = projections.pop("ShipmentHandling")
    services = {f"{name}Entity": {f"{name}Set": name} for name in _ENTITY_SERVICES}
    overviews = {} if kind == "custom" else {"CustomerOrdersHandling": _ORDERS_OVERVIEW}
    return Schema(entities, dict(sorted(projections.items())), services, overviews)
