"""Routes."""

import ipaddress

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend
from moto.ec2.models.route_tables import Route

from ..state import STATE
from . import around, correction

NAMES = ("destination_cidr_block", "destination_ipv6_cidr_block")


def canonical(value):
    return str(ipaddress.ip_network(value, strict=False)) if value else value


@correction(
    "route-host-bits",
    "Routes",
    moto="A route is kept with its host bits, and every later CreateRoute on that table is 500.",
    aws="It is kept without them.",
)
def route_host_bits(_rules):
    for method in ("create_route", "replace_route", "delete_route"):
        by_position(method)


def by_position(method):
    @around(EC2Backend, method)
    def call(
        original,
        backend,
        route_table_id,
        destination_cidr_block=None,
        destination_ipv6_cidr_block=None,
        *args,
        **kwargs,
    ):
        try:
            ranges = [canonical(destination_cidr_block), canonical(destination_ipv6_cidr_block)]
        except ValueError:
            raise EC2ClientError(
                "InvalidParameterValue",
                "Value ("
                f"{destination_cidr_block or destination_ipv6_cidr_block}) for "
                "parameter destinationCidrBlock is invalid. This is not a valid CIDR "
                "block.",
            ) from None
        return original(backend, route_table_id, *ranges, *args, **kwargs)


@correction(
    "route-blackhole",
    "Routes",
    moto="A route stays `active` whatever becomes of its instance.",
    aws="`blackhole` while the instance does not run; of a terminated one there is no instance "
    "ID any more.",
)
def route_blackhole(_rules):
    def state(route):
        machine = route.instance
        if machine is None and route.interface is not None:
            machine = route.interface.instance
        return (
            "active" if machine is None or machine.state in ("pending", "running") else "blackhole"
        )

    def instance_id(route):
        if route.instance is None or route.instance.state == "terminated":
            return None
        return route.instance.id

    Route.state = property(state)
    Route.instance_id = property(instance_id)


@correction(
    "route-interface",
    "Routes",
    moto="A route to an instance does not say the interface, one to an interface not the instance.",
    aws="Both are answered, whichever was given.",
)
def route_interface(_rules):
    @around(EC2Backend, "create_route")
    def create(original, backend, *args, **kwargs):
        route = original(backend, *args, **kwargs)
        pair(route)
        return route

    @around(EC2Backend, "replace_route")
    def replace(original, backend, *args, **kwargs):
        route = original(backend, *args, **kwargs)
        pair(route)
        return route

    def pair(route):
        if route.instance is not None and route.interface is None:
            route.interface = route.instance.nics[0]
        elif route.interface is not None and route.instance is None:
            route.instance = route.interface.instance


@correction(
    "route-checks",
    "Routes",
    moto="A route may take the place of the local one, IPv6 routes of each other; an instance "
    "with several interfaces is taken; a table holds any number.",
    aws="`RouteAlreadyExists`; `InvalidInstanceID`; `RouteLimitExceeded` beyond 50 (setting "
    "`routes_per_table`), which counts neither local nor propagated routes.",
)
def route_checks(_rules):
    @around(EC2Backend, "create_route")
    def create(original, backend, route_table_id, *args, local=False, **kwargs):
        given = dict(zip(NAMES, args, strict=False)) | kwargs
        table = backend.route_tables.get(route_table_id)
        if table is not None and not local:
            for name in NAMES:
                wanted = given.get(name)
                if wanted and any(getattr(route, name) == wanted for route in table.routes):
                    raise EC2ClientError(
                        "RouteAlreadyExists", f"The route identified by {wanted} already exists."
                    )
            most = STATE["routes_per_table"]
            if most is not None and sum(not route.local for route in table.routes) >= most:
                raise EC2ClientError(
                    "RouteLimitExceeded",
                    f"The maximum number of routes has been reached: {route_table_id}",
                )
            if given.get("instance_id"):
                machine = backend.get_instance(given["instance_id"])
                if len(machine.nics) > 1:
                    raise EC2ClientError(
                        "InvalidInstanceID",
                        "There are multiple interfaces attached to "
                        f"instance '{machine.id}'. Please specify an interface ID for the "
                        "operation instead.",
                    )
        return original(backend, route_table_id, *args, local=local, **kwargs)
