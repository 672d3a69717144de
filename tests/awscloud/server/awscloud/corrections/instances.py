"""Instances: how they are found and what is said of them."""

import copy
import re
import time
from xml.sax.saxutils import escape

from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.models.instances import Instance
from moto.ec2.responses.instances import InstanceResponse

from ..answers import AwsError, answered
from ..find import described, passes
from ..render import instance_xml, page, reservations
from ..state import STATE
from . import around, correction

ID = re.compile(r"i-([0-9a-f]{8}|[0-9a-f]{17})")


def check_ids(request):
    names = request.values("InstanceId") + (
        [request.get("InstanceId")] if request.get("InstanceId") else []
    )
    for name in names:
        if not ID.fullmatch(name):
            raise AwsError("InvalidInstanceID.Malformed", f'Invalid id: "{name}"')


@correction(
    "instance-ids",
    "EC2",
    moto="A malformed instance ID is `InvalidInstanceID.NotFound`, an ID given twice is an error.",
    aws="`InvalidInstanceID.Malformed`; twice is once.",
)
def instance_ids(rules):
    @rules.on_request(
        "ec2",
        "DescribeInstances",
        "TerminateInstances",
        "StopInstances",
        "StartInstances",
        "ModifyInstanceAttribute",
        "CreateRoute",
        "ReplaceRoute",
        "DescribeInstanceTopology",
        "DescribeInstanceAttribute",
    )
    def check(request):
        check_ids(request)


@correction(
    "describe-instances",
    "EC2",
    moto="A page holds so many reservations, however many instances those have; a wrong token "
    "is 500; many filters are missing and only tags know `*`; a thousand instances take "
    "seven seconds.",
    aws="A page holds so many instances, 5 to 1000; `InvalidParameterValue`; filters take `*` "
    "and `?`. A thousand instances take a fifth of a second.",
)
def describe_instances(_rules):
    @around(InstanceResponse, "describe_instances")
    def describe(_original, response):
        response.error_on_dryrun()
        ids = list(dict.fromkeys(response._get_param("InstanceIds", [])))
        size, token = response._get_int_param("MaxResults"), response._get_param("NextToken")
        if ids and size is not None:
            raise EC2ClientError(
                "InvalidParameterCombination",
                "The parameter instancesSet cannot be used with the parameter maxResults",
            )
        if size is not None and not 5 <= size <= 1000:
            raise EC2ClientError(
                "InvalidParameterValue",
                f"Value ( {size} ) for parameter maxResults "
                "is invalid. Expecting a value between 5 and 1000.",
            )
        found = list(described(response.ec2_backend))
        if ids:
            known = {machine.id: (reservation, machine) for reservation, machine in found}
            if missing := [name for name in ids if name not in known]:
                text = (
                    f"ID '{missing[0]}' does"
                    if len(missing) == 1
                    else (f"IDs '{', '.join(missing)}' do")
                )
                raise EC2ClientError("InvalidInstanceID.NotFound", f"The instance {text} not exist")
            wanted = set(ids)
            found = [pair for pair in found if pair[1].id in wanted]
        filters = response._filters_from_querystring()
        found = [pair for pair in found if passes(pair[1], filters)]
        start = 0
        if token:
            if not re.fullmatch(r"page-\d+", token):
                raise EC2ClientError(
                    "InvalidParameterValue",
                    f"Value ( {token} ) for parameter nextToken is invalid.",
                )
            start = int(token.removeprefix("page-"))
        end = start + size if size else len(found)
        more = f"<nextToken>page-{end}</nextToken>" if end < len(found) else ""
        return page(
            "DescribeInstances",
            f"<reservationSet>{reservations(found[start:end])}</reservationSet>{more}",
        )


@correction(
    "run-instances",
    "EC2",
    moto="A thousand instances take seven seconds to launch.",
    aws="A request takes a few seconds at most.",
)
def run_instances(_rules):
    @around(InstanceResponse, "run_instances")
    def run(original, response):
        reservation = original(response).result
        text = "".join(instance_xml(machine, pending=True) for machine in reservation.instances)
        return page(
            "RunInstances",
            f"<reservationId>{reservation.id}</reservationId>"
            f"<ownerId>{reservation.owner_id}</ownerId><groupSet/>"
            f"<instancesSet>{text}</instancesSet>",
        )

    # moto looks through the tags of everything for those of one thing.
    @around(TaggedEC2Resource, "get_tags")
    def tags(_original, thing):
        return [
            {"resource_id": thing.id, "key": key, "value": value}
            for key, value in thing.ec2_backend.tags.get(thing.id, {}).items()
        ]

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


@correction(
    "terminated-instances",
    "EC2",
    moto="A terminated instance keeps addresses, DNS names, interfaces and VPC, also in filters, "
    "and is described for ever.",
    aws="It has none of them, and is gone after about an hour (setting `terminated_s`).",
)
def terminated_instances(_rules):
    @around(Instance, "__init__")
    def init(original, machine, *args, **kwargs):
        original(machine, *args, **kwargs)
        # As AWS does unless a launch says otherwise.
        if 0 in machine.nics:
            machine.nics[0].delete_on_termination = True

    @around(Instance, "terminate")
    def terminate(original, machine):
        if machine.state == "terminated":
            return copy.copy(machine._state)
        STATE.terminated[machine.id] = time.monotonic()
        return original(machine)


@correction(
    "new-instances",
    "EC2",
    moto="A new instance is found at once.",
    aws="It may be unknown for a moment: `InvalidInstanceID.NotFound`, and not in lists (setting "
    "`unknown_s`).",
)
def new_instances(_rules):
    @around(Instance, "__init__")
    def init(original, machine, *args, **kwargs):
        original(machine, *args, **kwargs)
        STATE.launched[machine.id] = time.monotonic()


@correction(
    "instance-topology",
    "EC2",
    moto="DescribeInstanceTopology is not implemented.",
    aws="The network nodes of the instances whose types have them; others are left out. Here "
    "what the setting `topology` says, by instance ID or type.",
)
def instance_topology(rules):
    @rules.on_request("ec2", "DescribeInstanceTopology")
    def describe(request):
        from moto.ec2 import ec2_backends

        backend = ec2_backends[DEFAULT_ACCOUNT_ID][request.region]
        ids, filters = request.values("InstanceId"), request.filters()
        known = {machine.id: machine for _, machine in described(backend)}
        for name in ids:
            if name not in known:
                raise AwsError(
                    "InvalidInstanceID.NotFound", f"The instance ID '{name}' does not exist"
                )
        items = []
        for machine in known.values():
            nodes = STATE["topology"].get(machine.id) or STATE["topology"].get(
                machine.instance_type
            )
            if not nodes or machine.state != "running" or (ids and machine.id not in ids):
                continue
            if not passes(machine, filters):
                continue
            listed = "".join(f"<item>{escape(node)}</item>" for node in nodes)
            items.append(
                f"<item><instanceId>{machine.id}</instanceId><instanceType>{machine.instance_type}"
                f"</instanceType><networkNodeSet>{listed}</networkNodeSet><availabilityZone>"
                f"{machine.availability_zone}</availabilityZone></item>"
            )
        return answered(request, f"<instanceSet>{''.join(items)}</instanceSet>")
