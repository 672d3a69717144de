"""Instances as EC2 writes them. moto's own way takes seven milliseconds for each."""

from xml.sax.saxutils import escape

from .answers import NAMESPACES, REQUEST_ID, xml
from .state import STATE


def is_there(machine) -> bool:
    """A terminated instance has left its network."""
    return machine.id not in STATE.terminated


def groups_of(machine):
    found = {group.id: group for group in machine.security_groups or []}
    if not found and machine.nics:
        found = {group.id: group for group in machine.nics[0].group_set}
    return list(found.values())


def dns(machine, address: str) -> str:
    name = "ip-" + address.replace(".", "-")
    if machine.region_name == "us-east-1":
        return f"{name}.ec2.internal"
    return f"{name}.{machine.region_name}.compute.internal"


def page(action: str, inner: str) -> str:
    return xml(
        f'<{action}Response xmlns="{NAMESPACES["ec2"]}"><requestId>{REQUEST_ID}</requestId>'
        f"{inner}</{action}Response>"
    ).decode()


def reservations(pairs) -> str:
    text, last = [], None
    for reservation, machine in pairs:
        if reservation is not last:
            if last is not None:
                text.append("</instancesSet></item>")
            text.append(
                f"<item><reservationId>{reservation.id}</reservationId><ownerId>"
                f"{reservation.owner_id}</ownerId><groupSet/><instancesSet>"
            )
            last = reservation
        text.append(instance_xml(machine))
    if last is not None:
        text.append("</instancesSet></item>")
    return "".join(text)


def element(name: str, value) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        value = str(value).lower()
    return f"<{name}>{escape(str(value))}</{name}>"


def when(moment) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def group_set(groups) -> str:
    items = "".join(
        f"<item><groupId>{group.id}</groupId>{element('groupName', group.name)}</item>"
        for group in groups
    )
    return f"<groupSet>{items}</groupSet>"


def instance_xml(machine, pending: bool = False) -> str:
    """An item of `instancesSet`."""
    there = is_there(machine)
    code, state = (0, "pending") if pending else (machine.state_code, machine.state)
    tags = "".join(
        f"<item>{element('key', tag['key'])}<value>{escape(tag['value'] or '')}</value></item>"
        for tag in machine.get_tags()
    )
    volumes = "".join(
        f"<item><deviceName>{device}</deviceName><ebs><volumeId>{volume.volume_id}</volumeId>"
        f"<status>attached</status><deleteOnTermination>true</deleteOnTermination></ebs></item>"
        for device, volume in machine.get_block_device_mapping
    )
    reason = machine.state_reason
    parts = [
        "<item>",
        element("instanceId", machine.id),
        element("imageId", machine.image_id),
        f"<instanceState><code>{code}</code><name>{state}</name></instanceState>",
        f"<privateDnsName>{machine.private_dns_name if there else ''}</privateDnsName>",
        f"<dnsName>{(machine.public_dns_name or '') if there else ''}</dnsName>",
        f"<reason>{escape(machine._reason or '')}</reason>",
        element("keyName", machine.key_name),
        element("amiLaunchIndex", machine.ami_launch_index),
        element("clientToken", machine.client_token),
        element("instanceType", machine.instance_type),
        element("launchTime", when(machine.launch_time)),
        f"<placement><availabilityZone>{machine.availability_zone}</availabilityZone><groupName/>"
        "<tenancy>default</tenancy></placement>",
        f"<monitoring><state>{machine.monitoring_state}</state></monitoring>",
        element("architecture", machine.architecture),
        element("rootDeviceType", machine.root_device_type),
        element("rootDeviceName", machine.root_device_name),
        element("virtualizationType", "hvm"),
        element("hypervisor", machine.hypervisor),
        element("instanceLifecycle", machine.lifecycle),
        element("ebsOptimized", bool(machine.ebs_optimized)),
        f"<blockDeviceMapping>{volumes}</blockDeviceMapping>",
        f"<tagSet>{tags}</tagSet>" if tags else "",
    ]
    if reason.code:
        parts.append(
            f"<stateReason>{element('code', reason.code)}"
            f"{element('message', reason.message)}</stateReason>"
        )
    if there:
        cards = "".join(card_xml(machine, card) for _, card in sorted(machine.nics.items()))
        parts += [
            element("subnetId", machine.subnet_id),
            element("vpcId", machine.vpc_id),
            element("privateIpAddress", machine.private_ip),
            element("ipAddress", machine.public_ip),
            element("sourceDestCheck", machine.source_dest_check),
            group_set(groups_of(machine)),
            f"<networkInterfaceSet>{cards}</networkInterfaceSet>",
        ]
    else:
        parts += ["<groupSet/>", "<networkInterfaceSet/>"]
    return "".join(parts) + "</item>"


def card_xml(machine, card) -> str:
    """An item of `networkInterfaceSet`."""
    public = ""
    if card.public_ip:
        public = (
            "<association><publicIp>" + card.public_ip + "</publicIp><ipOwnerId>amazon"
            "</ipOwnerId></association>"
        )
    addresses = "".join(
        f"<item>{element('privateIpAddress', address['PrivateIpAddress'])}"
        f"{element('privateDnsName', dns(machine, address['PrivateIpAddress']))}"
        f"{element('primary', address['PrivateIpAddress'] == card.private_ip_address)}</item>"
        for address in card.private_ip_addresses
    )
    addresses6 = "".join(
        f"<item><ipv6Address>{address}</ipv6Address><isPrimaryIpv6>false</isPrimaryIpv6></item>"
        for address in card.ipv6_addresses
    )
    attached = (
        f"<attachment><attachmentId>{card.attachment_id}</attachmentId><deviceIndex>"
        f"{card.device_index}</deviceIndex><status>attached</status><deleteOnTermination>"
        f"{str(bool(card.delete_on_termination)).lower()}</deleteOnTermination>"
        "<networkCardIndex>0</networkCardIndex></attachment>"
    )
    return "".join(
        [
            "<item>",
            element("networkInterfaceId", card.id),
            element("subnetId", card.subnet.id),
            element("vpcId", card.subnet.vpc_id),
            element("description", card.description),
            element("ownerId", card.owner_id),
            element("status", card.status),
            element("macAddress", card.mac_address),
            element("privateIpAddress", card.private_ip_address),
            element("privateDnsName", dns(machine, card.private_ip_address)),
            element("sourceDestCheck", card.source_dest_check),
            group_set(card.group_set),
            attached,
            public,
            f"<privateIpAddressesSet>{addresses}</privateIpAddressesSet>",
            f"<ipv6AddressesSet>{addresses6}</ipv6AddressesSet>",
            element("interfaceType", card.interface_type),
            "</item>",
        ]
    )
