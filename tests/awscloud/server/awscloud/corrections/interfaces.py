"""Network interfaces."""

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.models.instances import Instance

from ..render import dns
from . import around, correction


@correction(
    "source-dest-check",
    "EC2",
    moto="The checks of an instance and of its interface are two; setting the instance's works "
    "with several interfaces.",
    aws="One: the instance's is that of its only interface; with several it is "
    "`InvalidInstanceID`.",
)
def source_dest_check(_rules):
    def get(machine):
        cards = getattr(machine, "nics", {})
        return cards[0].source_dest_check if 0 in cards else True

    def put(machine, value):
        cards = getattr(machine, "nics", {})
        if len(cards) > 1:
            raise EC2ClientError(
                "InvalidInstanceID",
                "There are multiple interfaces attached to "
                f"instance '{machine.id}'. Please specify an interface ID for the "
                "operation instead.",
            )
        for card in cards.values():
            card.source_dest_check = str(value).lower() == "true"

    Instance.source_dest_check = property(get, put)


@correction(
    "interface-filters",
    "EC2",
    moto="DescribeNetworkInterfaces lacks the filters `attachment.status`, "
    "`attachment.device-index`, `private-dns-name` and others, and looks at the first "
    "address only.",
    aws="It has them; `addresses.private-ip-address` looks at all addresses.",
)
def interface_filters(_rules):
    @around(NetworkInterface, "get_filter_value")
    def value(original, card, filter_name, method_name=None):
        match filter_name:
            case "attachment.status":
                return "attached" if card.attachment_id else "detached"
            case "attachment.device-index":
                return None if card.device_index is None else str(card.device_index)
            case "private-dns-name":
                return dns(card.ec2_backend, card.private_ip_address)
            case "addresses.private-ip-address":
                return [address["PrivateIpAddress"] for address in card.private_ip_addresses]
            case "ipv6-addresses.ipv6-address":
                return card.ipv6_addresses
            case "association.public-ip" | "addresses.association.public-ip":
                return card.public_ip
            case "interface-type":
                return card.interface_type
        return original(card, filter_name, method_name)
