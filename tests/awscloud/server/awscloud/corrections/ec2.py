"""What holds for several kinds of things of EC2."""

import re

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend

from ..answers import AwsError
from ..find import described
from . import around, correction

# Values of all filters of a request together.
FILTER_VALUES = 200


@correction(
    "filter-limit",
    "EC2",
    moto="Any number of filter values is taken.",
    aws="200 values in all filters of a request, else `FilterLimitExceeded`.",
)
def filter_limit(rules):
    @rules.on_request("ec2", "*")
    def check(request):
        if sum(len(values) for values in request.filters().values()) > FILTER_VALUES:
            raise AwsError(
                "FilterLimitExceeded",
                "The maximum number of filter values specified on "
                f"a single call is {FILTER_VALUES}",
            )


@correction(
    "create-tags",
    "EC2",
    moto="Tags can be put on an instance that does not exist, and with keys that begin with "
    "`aws:`.",
    aws="`InvalidInstanceID.NotFound`, `InvalidParameterValue`.",
)
def create_tags(rules):
    @around(EC2Backend, "do_resources_exist")
    def exist(original, backend, resource_ids):
        known = {machine.id for _, machine in described(backend)}
        for name in resource_ids:
            if name.startswith("i-") and name not in known:
                raise EC2ClientError(
                    "InvalidInstanceID.NotFound", f"The instance ID '{name}' does not exist"
                )
        return original(backend, resource_ids)

    @rules.on_request("ec2", "CreateTags")
    def check(request):
        for tag in request.groups("Tag"):
            if tag.get("Key", "").lower().startswith("aws:"):
                raise AwsError(
                    "InvalidParameterValue",
                    "Tag keys starting with 'aws:' are reserved for internal use",
                )


@correction(
    "ec2-pages",
    "EC2",
    moto="MaxResults is ignored but for instances.",
    aws="Security groups, route tables, subnets, volumes and network interfaces come in pages "
    "of 5 to 1000.",
)
def ec2_pages(_rules):
    from moto.ec2.responses import (
        elastic_block_store,
        elastic_network_interfaces,
        route_tables,
        security_groups,
        subnets,
    )

    kinds = (
        (security_groups.SecurityGroups, "describe_security_groups", "SecurityGroups"),
        (route_tables.RouteTables, "describe_route_tables", "RouteTables"),
        (subnets.Subnets, "describe_subnets", "Subnets"),
        (elastic_block_store.ElasticBlockStore, "describe_volumes", "Volumes"),
        (
            elastic_network_interfaces.ElasticNetworkInterfaces,
            "describe_network_interfaces",
            "NetworkInterfaces",
        ),
    )
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
            raise EC2ClientError(
                "InvalidParameterValue",
                f"Value ( {size} ) for parameter maxResults "
                "is invalid. Expecting a value between 5 and 1000.",
            )
        if token and not re.fullmatch(r"page-\d+", token):
            raise EC2ClientError(
                "InvalidParameterValue", f"Value ( {token} ) for parameter nextToken is invalid."
            )
        start = int(token.removeprefix("page-")) if token else 0
        items = list(answer.result[key])
        end = start + (size or 1000)
        answer.result[key] = items[start:end]
        answer.result["NextToken"] = f"page-{end}" if end < len(items) else None
        return answer
