"""Instances: how they are found and what is said of them."""

import copy
import fnmatch
import re
import time
from xml.sax.saxutils import escape

from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.models.instances import Instance
from moto.ec2.responses.instances import InstanceResponse
from moto.ec2.utils import passes_filter_dict

from ..answers import NAMESPACES, REQUEST_ID, AwsError, answered, xml
from ..state import STATE
from . import around, correction

ID = re.compile(r"i-([0-9a-f]{8}|[0-9a-f]{17})")
# Values of all filters of a request together.
FILTER_VALUES = 200


def check_ids(request):
    names = request.values("InstanceId") + ([request.get("InstanceId")]
                                            if request.get("InstanceId") else [])
    for name in names:
        if not ID.fullmatch(name):
            raise AwsError("InvalidInstanceID.Malformed", f'Invalid id: "{name}"')


@correction("instance-ids", "EC2",
            moto="A malformed instance ID is `InvalidInstanceID.NotFound`, an ID given twice is an "
                 "error.",
            aws="`InvalidInstanceID.Malformed`; twice is once.")
def instance_ids(rules):
    @rules.on_request("ec2", "DescribeInstances", "TerminateInstances", "StopInstances",
                      "StartInstances", "ModifyInstanceAttribute", "CreateRoute", "ReplaceRoute",
                      "DescribeInstanceTopology", "DescribeInstanceAttribute")
    def check(request):
        check_ids(request)


@correction("filter-limit", "EC2", moto="Any number of filter values is taken.",
            aws="200 values in all filters of a request, else `FilterLimitExceeded`.")
def filter_limit(rules):
    @rules.on_request("ec2", "*")
    def check(request):
        if sum(len(values) for values in request.filters().values()) > FILTER_VALUES:
            raise AwsError("FilterLimitExceeded", "The maximum number of filter values specified on "
                           f"a single call is {FILTER_VALUES}")


def is_there(machine) -> bool:
    """A terminated instance has left its network."""
    return machine.id not in STATE.terminated


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
            return [address["PrivateIpAddress"] for card in cards
                    for address in card.private_ip_addresses]
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
    gone = STATE["terminated_s"]
    for reservation in backend.reservations.values():
        for machine in reservation.instances:
            since = STATE.terminated.get(machine.id)
            if None not in (gone, since) and time.monotonic() - since >= gone:
                continue
            yield reservation, machine


@correction("describe-instances", "EC2",
            moto="A page holds so many reservations, however many instances those have; a wrong token "
                 "is 500; many filters are missing and only tags know `*`; a thousand instances take "
                 "seven seconds.",
            aws="A page holds so many instances, 5 to 1000; `InvalidParameterValue`; filters take `*` "
                "and `?`. A thousand instances take a fifth of a second.")
def describe_instances(_rules):
    @around(InstanceResponse, "describe_instances")
    def describe(_original, response):
        response.error_on_dryrun()
        ids = list(dict.fromkeys(response._get_param("InstanceIds", [])))
        size, token = response._get_int_param("MaxResults"), response._get_param("NextToken")
        if ids and size is not None:
            raise EC2ClientError("InvalidParameterCombination", "The parameter instancesSet cannot be "
                                 "used with the parameter maxResults")
        if size is not None and not 5 <= size <= 1000:
            raise EC2ClientError("InvalidParameterValue", f"Value ( {size} ) for parameter maxResults "
                                 "is invalid. Expecting a value between 5 and 1000.")
        found = list(described(response.ec2_backend))
        if ids:
            known = {machine.id: (reservation, machine) for reservation, machine in found}
            if missing := [name for name in ids if name not in known]:
                text = f"ID '{missing[0]}' does" if len(missing) == 1 else (
                    f"IDs '{', '.join(missing)}' do")
                raise EC2ClientError("InvalidInstanceID.NotFound", f"The instance {text} not exist")
            wanted = set(ids)
            found = [pair for pair in found if pair[1].id in wanted]
        filters = response._filters_from_querystring()
        found = [pair for pair in found if passes(pair[1], filters)]
        start = 0
        if token:
            if not re.fullmatch(r"page-\d+", token):
                raise EC2ClientError("InvalidParameterValue",
                                     f"Value ( {token} ) for parameter nextToken is invalid.")
            start = int(token.removeprefix("page-"))
        end = start + size if size else len(found)
        more = f"<nextToken>page-{end}</nextToken>" if end < len(found) else ""
        return page("DescribeInstances", f"<reservationSet>{reservations(found[start:end])}"
                    f"</reservationSet>{more}")


@correction("run-instances", "EC2",
            moto="A thousand instances take seven seconds to launch.",
            aws="A request takes a few seconds at most.")
def run_instances(_rules):
    @around(InstanceResponse, "run_instances")
    def run(original, response):
        reservation = original(response).result
        text = "".join(instance_xml(machine, pending=True) for machine in reservation.instances)
        return page("RunInstances", f"<reservationId>{reservation.id}</reservationId>"
                    f"<ownerId>{reservation.owner_id}</ownerId><groupSet/>"
                    f"<instancesSet>{text}</instancesSet>")

    # moto looks through the tags of everything for those of one thing.
    @around(TaggedEC2Resource, "get_tags")
    def tags(_original, thing):
        return [{"resource_id": thing.id, "key": key, "value": value}
                for key, value in thing.ec2_backend.tags.get(thing.id, {}).items()]

    # It looks through all volumes for each new instance.
    @around(EC2Backend, "describe_volumes")
    def volumes(original, backend, volume_ids=None, filters=None):
        if volume_ids and not filters and all(name in backend.volumes for name in volume_ids):
            return [backend.volumes[name] for name in volume_ids]
        return original(backend, volume_ids, filters)

    # It goes through the instances from the first on to find one.
    @around(EC2Backend, "get_instance")
    def get(original, backend, instance_id):
        of, found = getattr(backend, "machines_found", (None, {}))
        # After a reset the backend has new ones.
        if of is not backend.reservations:
            found = {}
            backend.machines_found = (backend.reservations, found)
        if instance_id not in found:
            found[instance_id] = original(backend, instance_id)
        return found[instance_id]


def page(action: str, inner: str) -> str:
    return xml(f'<{action}Response xmlns="{NAMESPACES["ec2"]}"><requestId>{REQUEST_ID}</requestId>'
               f"{inner}</{action}Response>").decode()


def reservations(pairs) -> str:
    text, last = [], None
    for reservation, machine in pairs:
        if reservation is not last:
            if last is not None:
                text.append("</instancesSet></item>")
            text.append(f"<item><reservationId>{reservation.id}</reservationId><ownerId>"
                        f"{reservation.owner_id}</ownerId><groupSet/><instancesSet>")
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
    items = "".join(f"<item><groupId>{group.id}</groupId>{element('groupName', group.name)}</item>"
                    for group in groups)
    return f"<groupSet>{items}</groupSet>"


def instance_xml(machine, pending: bool = False) -> str:
    """An item of `instancesSet`. moto's own way takes seven milliseconds."""
    there = is_there(machine)
    code, state = (0, "pending") if pending else (machine.state_code, machine.state)
    tags = "".join(f"<item>{element('key', tag['key'])}<value>{escape(tag['value'] or '')}</value>"
                   "</item>" for tag in machine.get_tags())
    volumes = "".join(
        f"<item><deviceName>{device}</deviceName><ebs><volumeId>{volume.volume_id}</volumeId>"
        f"<status>attached</status><deleteOnTermination>true</deleteOnTermination></ebs></item>"
        for device, volume in machine.get_block_device_mapping)
    reason = machine.state_reason
    parts = [
        "<item>",
        element("instanceId", machine.id), element("imageId", machine.image_id),
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
        element("virtualizationType", "hvm"), element("hypervisor", machine.hypervisor),
        element("instanceLifecycle", machine.lifecycle),
        element("ebsOptimized", bool(machine.ebs_optimized)),
        f"<blockDeviceMapping>{volumes}</blockDeviceMapping>",
        f"<tagSet>{tags}</tagSet>" if tags else "",
    ]
    if reason.code:
        parts.append(f"<stateReason>{element('code', reason.code)}"
                     f"{element('message', reason.message)}</stateReason>")
    if there:
        cards = "".join(card_xml(machine, card) for _, card in sorted(machine.nics.items()))
        parts += [
            element("subnetId", machine.subnet_id), element("vpcId", machine.vpc_id),
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
        public = ("<association><publicIp>" + card.public_ip + "</publicIp><ipOwnerId>amazon"
                  "</ipOwnerId></association>")
    addresses = "".join(
        f"<item>{element('privateIpAddress', address['PrivateIpAddress'])}"
        f"{element('privateDnsName', dns(machine, address['PrivateIpAddress']))}"
        f"{element('primary', address['PrivateIpAddress'] == card.private_ip_address)}</item>"
        for address in card.private_ip_addresses)
    addresses6 = "".join(f"<item><ipv6Address>{address}</ipv6Address><isPrimaryIpv6>false"
                         "</isPrimaryIpv6></item>" for address in card.ipv6_addresses)
    attached = (f"<attachment><attachmentId>{card.attachment_id}</attachmentId><deviceIndex>"
                f"{card.device_index}</deviceIndex><status>attached</status><deleteOnTermination>"
                f"{str(bool(card.delete_on_termination)).lower()}</deleteOnTermination>"
                "<networkCardIndex>0</networkCardIndex></attachment>")
    return "".join([
        "<item>", element("networkInterfaceId", card.id), element("subnetId", card.subnet.id),
        element("vpcId", card.subnet.vpc_id), element("description", card.description),
        element("ownerId", card.owner_id), element("status", card.status),
        element("macAddress", card.mac_address),
        element("privateIpAddress", card.private_ip_address),
        element("privateDnsName", dns(machine, card.private_ip_address)),
        element("sourceDestCheck", card.source_dest_check), group_set(card.group_set), attached,
        public, f"<privateIpAddressesSet>{addresses}</privateIpAddressesSet>",
        f"<ipv6AddressesSet>{addresses6}</ipv6AddressesSet>",
        element("interfaceType", card.interface_type), "</item>",
    ])


@correction("terminated-instances", "EC2",
            moto="A terminated instance keeps addresses, DNS names, interfaces and VPC in its filters, "
                 "and is described for ever.",
            aws="It has none of them, and is gone after about an hour (setting `terminated_s`).")
def terminated_instances(_rules):
    @around(Instance, "terminate")
    def terminate(original, machine):
        if machine.state == "terminated":
            return copy.copy(machine._state)
        STATE.terminated[machine.id] = time.monotonic()
        return original(machine)


@correction("instance-topology", "EC2",
            moto="DescribeInstanceTopology is not implemented.",
            aws="The network nodes of the instances whose types have them; others are left out. Here "
                "what the setting `topology` says, by instance ID or type.")
def instance_topology(rules):
    @rules.on_request("ec2", "DescribeInstanceTopology")
    def describe(request):
        from moto.ec2 import ec2_backends

        backend = ec2_backends[DEFAULT_ACCOUNT_ID][request.region]
        ids, filters = request.values("InstanceId"), request.filters()
        known = {machine.id: machine for _, machine in described(backend)}
        for name in ids:
            if name not in known:
                raise AwsError("InvalidInstanceID.NotFound",
                               f"The instance ID '{name}' does not exist")
        items = []
        for machine in known.values():
            nodes = STATE["topology"].get(machine.id) or STATE["topology"].get(machine.instance_type)
            if not nodes or machine.state != "running" or (ids and machine.id not in ids):
                continue
            if not passes(machine, filters):
                continue
            listed = "".join(f"<item>{escape(node)}</item>" for node in nodes)
            items.append(
                f"<item><instanceId>{machine.id}</instanceId><instanceType>{machine.instance_type}"
                f"</instanceType><networkNodeSet>{listed}</networkNodeSet><availabilityZone>"
                f"{machine.availability_zone}</availabilityZone></item>")
        return answered(request, f"<instanceSet>{''.join(items)}</instanceSet>")


@correction("source-dest-check", "EC2",
            moto="The checks of an instance and of its interface are two; setting the instance's works "
                 "with several interfaces.",
            aws="One: the instance's is that of its only interface; with several it is "
                "`InvalidInstanceID`.")
def source_dest_check(_rules):
    def get(machine):
        cards = getattr(machine, "nics", {})
        return cards[0].source_dest_check if 0 in cards else True

    def put(machine, value):
        cards = getattr(machine, "nics", {})
        if len(cards) > 1:
            raise EC2ClientError("InvalidInstanceID", "There are multiple interfaces attached to "
                                 f"instance '{machine.id}'. Please specify an interface ID for the "
                                 "operation instead.")
        for card in cards.values():
            card.source_dest_check = str(value).lower() == "true"

    Instance.source_dest_check = property(get, put)


@correction("interface-filters", "EC2",
            moto="DescribeNetworkInterfaces lacks the filters `attachment.status`, "
                 "`attachment.device-index`, `private-dns-name` and others, and looks at the first "
                 "address only.",
            aws="It has them; `addresses.private-ip-address` looks at all addresses.")
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


@correction("create-tags", "EC2",
            moto="Tags can be put on an instance that does not exist, and with keys that begin with "
                 "`aws:`.",
            aws="`InvalidInstanceID.NotFound`, `InvalidParameterValue`.")
def create_tags(rules):
    @around(EC2Backend, "do_resources_exist")
    def exist(original, backend, resource_ids):
        known = {machine.id for _, machine in described(backend)}
        for name in resource_ids:
            if name.startswith("i-") and name not in known:
                raise EC2ClientError("InvalidInstanceID.NotFound",
                                     f"The instance ID '{name}' does not exist")
        return original(backend, resource_ids)

    @rules.on_request("ec2", "CreateTags")
    def check(request):
        for tag in request.groups("Tag"):
            if tag.get("Key", "").lower().startswith("aws:"):
                raise AwsError("InvalidParameterValue",
                               "Tag keys starting with 'aws:' are reserved for internal use")


@correction("ec2-pages", "EC2",
            moto="MaxResults is ignored but for instances.",
            aws="Security groups, route tables, subnets, volumes and network interfaces come in pages "
                "of 5 to 1000.")
def ec2_pages(_rules):
    from moto.ec2.responses import elastic_block_store, elastic_network_interfaces
    from moto.ec2.responses import route_tables, security_groups, subnets

    kinds = ((security_groups.SecurityGroups, "describe_security_groups", "SecurityGroups"),
             (route_tables.RouteTables, "describe_route_tables", "RouteTables"),
             (subnets.Subnets, "describe_subnets", "Subnets"),
             (elastic_block_store.ElasticBlockStore, "describe_volumes", "Volumes"),
             (elastic_network_interfaces.ElasticNetworkInterfaces, "describe_network_interfaces",
              "NetworkInterfaces"))
    for owner, method, key in kinds:
        cut(owner, method, key)


def cut(owner, method, key):
    @around(owner, method)
    def part(original, response):
        answer = original(response)
        size, token = response._get_int_param("MaxResults"), response._get_param("NextToken")
        if size is None and token is None:
            return answer
        if size is not None and not 5 <= size <= 1000:
            raise EC2ClientError("InvalidParameterValue", f"Value ( {size} ) for parameter maxResults "
                                 "is invalid. Expecting a value between 5 and 1000.")
        if token and not re.fullmatch(r"page-\d+", token):
            raise EC2ClientError("InvalidParameterValue",
                                 f"Value ( {token} ) for parameter nextToken is invalid.")
        start = int(token.removeprefix("page-")) if token else 0
        items = list(answer.result[key])
        end = start + (size or 1000)
        answer.result[key] = items[start:end]
        answer.result["NextToken"] = f"page-{end}" if end < len(items) else None
        return answer
