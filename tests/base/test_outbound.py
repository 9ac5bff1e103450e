"""Only https and public addresses, unless allowed; link-local and metadata addresses never."""

import pytest

from integrations.base.errors import ConfigurationError
from integrations.base.outbound import OutboundPolicy

PUBLIC = ["8.8.8.8", "2606:4700::1111", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8", "2002:808:808::1"]
INSIDE = [
    "127.0.0.1",
    "10.0.0.1",
    "172.16.5.5",
    "192.168.1.1",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "192.0.2.1",
    "::1",
    "::",
    "::127.0.0.1",
    "fc00::1",
    "fec0::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b:1::1",
    "2002:7f00:1::1",
    "2001:db8::1",
]
NEVER = [
    "169.254.169.254",
    "169.254.0.1",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "100.100.100.200",
    "168.63.129.16",
    "::ffff:169.254.169.254",
    "::169.254.169.254",
    "64:ff9b::169.254.169.254",
    "2002:a9fe:a9fe::1",
]


@pytest.mark.parametrize("ip", PUBLIC)
def test_public_addresses_pass_over_https_only(ip):
    OutboundPolicy().check_address("erp.example", ip, "https")
    with pytest.raises(ConfigurationError) as caught:
        OutboundPolicy().check_address("erp.example", ip, "http")
    assert caught.value.code == "https_required"


@pytest.mark.parametrize("ip", INSIDE)
def test_inner_addresses_are_refused(ip):
    with pytest.raises(ConfigurationError) as caught:
        OutboundPolicy().check_address("erp.example", ip, "https")
    assert caught.value.code == "outbound_refused" and "ALLOW_PRIVATE_HOSTS" in caught.value.remedy


@pytest.mark.parametrize("ip", INSIDE)
def test_everything_else_may_be_allowed(ip):
    OutboundPolicy(["1"]).check_address("erp.example", ip, "http")


@pytest.mark.parametrize("ip", NEVER)
@pytest.mark.parametrize("allow", [(), ("1",), ("erp.example",), ("0.0.0.0/0", "::/0")])
def test_link_local_and_metadata_addresses_are_never_called(ip, allow):
    with pytest.raises(ConfigurationError) as caught:
        OutboundPolicy(allow).check_address("erp.example", ip, "https")
    assert caught.value.code == "outbound_refused"


@pytest.mark.parametrize(
    ("entry", "host", "ip", "passes"),
    [
        ("erp.local", "ERP.local.", "10.0.0.1", True),
        ("erp.local", "other.local", "10.0.0.1", False),
        ("erp.local", "sub.erp.local", "10.0.0.1", False),
        ("10.0.0.0/8", "erp.local", "10.9.9.9", True),
        ("10.0.0.1/8", "erp.local", "10.9.9.9", True),
        ("10.0.0.0/8", "erp.local", "11.0.0.1", False),
        ("10.0.0.1", "erp.local", "10.0.0.1", True),
        ("10.0.0.1", "erp.local", "::ffff:10.0.0.1", True),
        ("[::1]", "erp.local", "::1", True),
        (" 127.0.0.1 ", "localhost", "127.0.0.1", True),
    ],
)
def test_allowed_entries_match_names_addresses_and_networks(entry, host, ip, passes):
    policy = OutboundPolicy([entry, ""])
    if passes:
        policy.check_address(host, ip, "http")
    else:
        with pytest.raises(ConfigurationError):
            policy.check_address(host, ip, "http")


def test_a_broken_network_is_noticed_at_start():
    with pytest.raises(ValueError, match="10.0.0.0/99"):
        OutboundPolicy(["10.0.0.0/99"])


@pytest.mark.parametrize(
    "url",
    [
        "http://acme.ifs.cloud",
        "ftp://acme.ifs.cloud",
        "acme.ifs.cloud",
        "https://",
        "",
        "https://me:pw@acme.ifs.cloud",
        "https://acme.ifs.cloud:99999",
        "https://[::1",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://0177.0.0.1/",
        "https://0x7f.1/",
        "https://[::ffff:10.0.0.1]/",
        "https://169.254.169.254/",
        "https://metadata.google.internal/",
        "https://METADATA.google.internal./",
    ],
)
def test_a_form_refuses_what_can_be_seen_without_dns(url):
    with pytest.raises(ConfigurationError) as caught:
        OutboundPolicy().check_url(url)
    assert "pw" not in caught.value.message


@pytest.mark.parametrize(
    "url", ["https://acme.ifs.cloud", "https://acme.ifs.cloud:8443/prefix", "https://1and1.example", "https://[2606:4700::1111]/"]
)
def test_a_form_accepts_public_https(url):
    OutboundPolicy().check_url(url)


def test_a_form_accepts_plain_http_where_allowed_or_where_only_dns_can_tell():
    OutboundPolicy(["erp.local"]).check_url("http://erp.local:8080")
    OutboundPolicy(["1"]).check_url("http://127.0.0.1:8000")
    OutboundPolicy(["10.0.0.0/8"]).check_url("http://erp.local")
    with pytest.raises(ConfigurationError):
        OutboundPolicy(["1"]).check_url("http://169.254.169.254")
    with pytest.raises(ConfigurationError):
        OutboundPolicy(["1"]).check_url("http://metadata.google.internal")
