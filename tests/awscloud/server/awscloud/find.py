"""How instances are found."""

import fnmatch
import time

from moto.ec2.utils import passes_filter_dict

from .render import dns, groups_of, is_there
from .state import STATE


def values(machine, name: str) -> list | None:
    """What a filter looks at; nothing if it is not one of ours."""
    there = is_there(machine)
    cards = list(machine.nics.values()) if there else []
    match name:
        case "instance-id":
            return [machine.id]
        case "instance-state-name":
            return [machine.state]
        case "instance-state-code":
            return [str(machine.state_code)]
        case "instance-type":
            return [machine.instance_type]
        case "availability-zone":
            return [machine.availability_zone]
        case "vpc-id" | "network-interface.vpc-id":
            return [machine.vpc_id] if there else []
        case "subnet-id" | "network-interface.subnet-id":
            return [machine.subnet_id] if there else []
        case "private-dns-name":
            return [machine.private_dns_name] if there else []
        case "network-interface.private-dns-name":
            return [dns(machine, card.private_ip_address) for card in cards]
        case "private-ip-address":
            return [machine.private_ip] if there else []
        case "network-interface.addresses.private-ip-address":
            return [
                address["PrivateIpAddress"]
                for card in cards
                for address in card.private_ip_addresses
            ]
        case "network-interface.ipv6-addresses.ipv6-address" | "ipv6-address":
            return [address for card in cards for address in card.ipv6_addresses]
        case "ip-address":
            return [machine.public_ip] if there and machine.public_ip else []
        case "dns-name":
            return [machine.public_dns_name] if there and machine.public_dns_name else []
        case "instance.group-id" | "group-id" | "network-interface.group-id":
            return [group.id for group in groups_of(machine)]
        case "instance.group-name" | "network-interface.group-name":
            return [group.name for group in groups_of(machine)]
        case "network-interface.network-interface-id":
            return [card.id for card in cards]
        case "tag-key":
            return [tag["key"] for tag in machine.get_tags()]
        case "tag-value":
            return [tag["value"] for tag in machine.get_tags()]
    if name.startswith("tag:"):
        return [tag["value"] for tag in machine.get_tags() if tag["key"] == name[4:]]
    return None


def passes(machine, filters: dict) -> bool:
    for name, wanted in filters.items():
        found = values(machine, name)
        if found is None:
            # Not one of ours: moto knows some more, and says when it does not.
            if not passes_filter_dict(machine, {name: wanted}):
                return False
        elif not any(like(value, pattern) for value in found for pattern in wanted):
            return False
    return True


def like(value, pattern: str) -> bool:
    if "*" in pattern or "?" in pattern:
        return fnmatch.fnmatchcase(str(value), pattern.replace("[", "[[]"))
    return value == pattern


def described(backend):
    """Reservations and those of their instances that are still described."""
    gone, now = STATE["terminated_s"], time.monotonic()
    known = now - STATE["unknown_s"]
    for reservation in backend.reservations.values():
        for machine in reservation.instances:
            since = STATE.terminated.get(machine.id)
            if None not in (gone, since) and now - since >= gone:
                continue
            if STATE.launched.get(machine.id, 0) > known:
                continue
            yield reservation, machine
