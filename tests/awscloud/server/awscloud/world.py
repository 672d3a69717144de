"""A network as kops makes one, and machines in it."""

from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2 import ec2_backends

ZONES = ("a", "b")
ROLES = {"public": "kubernetes.io/role/elb", "private": "kubernetes.io/role/internal-elb"}
# Room for 4000 machines a subnet.
BLOCKS = {
    ("public", "a"): "10.0.0.0/20",
    ("public", "b"): "10.0.16.0/20",
    ("private", "a"): "10.0.32.0/20",
    ("private", "b"): "10.0.48.0/20",
}


def tags(cluster: str, name: str, extra: dict | None = None) -> list[dict]:
    """The cluster's marks, both old and new, as kops puts them on all that it makes."""
    marks = {
        "Name": name,
        "KubernetesCluster": cluster,
        f"kubernetes.io/cluster/{cluster}": "owned",
        **(extra or {}),
    }
    return [{"Key": key, "Value": value} for key, value in marks.items()]


def tagged(kind: str, cluster: str, name: str, extra: dict | None = None) -> list[dict]:
    return [{"ResourceType": kind, "Tags": tags(cluster, name, extra)}]


def build(hand, cluster: str, region: str = "us-east-1", tag_private_table: bool = False) -> dict:
    """A VPC with an internet gateway, a public and a private subnet in each of two zones, a route
    table for the public ones (the cluster's, where routes to pods go) and one for the private
    ones, and the nodes' security group."""
    ec2 = hand.client("ec2", region)
    vpc = ec2.create_vpc(
        CidrBlock="10.0.0.0/16", TagSpecifications=tagged("vpc", cluster, cluster)
    )["Vpc"]["VpcId"]
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    gateway = ec2.create_internet_gateway(
        TagSpecifications=tagged("internet-gateway", cluster, cluster)
    )["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    tables = {}
    for kind in ("public", "private"):
        ours = kind == "public" or tag_private_table
        name = f"{kind}.{cluster}"
        spec = (
            tagged("route-table", cluster, name)
            if ours
            else [{"ResourceType": "route-table", "Tags": [{"Key": "Name", "Value": name}]}]
        )
        tables[kind] = ec2.create_route_table(VpcId=vpc, TagSpecifications=spec)["RouteTable"][
            "RouteTableId"
        ]
    ec2.create_route(
        RouteTableId=tables["public"], DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway
    )
    subnets = {}
    for (kind, zone), block in BLOCKS.items():
        spec = tagged("subnet", cluster, f"{kind}-{zone}.{cluster}", {ROLES[kind]: "1"})
        subnet = ec2.create_subnet(
            VpcId=vpc, CidrBlock=block, AvailabilityZone=region + zone, TagSpecifications=spec
        )["Subnet"]["SubnetId"]
        ec2.associate_route_table(RouteTableId=tables[kind], SubnetId=subnet)
        subnets[f"{kind}_{zone}"] = subnet
    nodes = ec2.create_security_group(
        GroupName=f"nodes.{cluster}",
        Description="nodes",
        VpcId=vpc,
        TagSpecifications=tagged("security-group", cluster, f"nodes.{cluster}"),
    )["GroupId"]
    return {
        "cluster": cluster,
        "region": region,
        "vpc": vpc,
        "gateway": gateway,
        "node_group": nodes,
        "public_table": tables["public"],
        "private_table": tables["private"],
        **subnets,
    }


def launch(
    hand,
    world: dict,
    count: int,
    subnet: str = "private",
    tag: bool = True,
    instance_type: str = "m5.large",
    prefix: str = "node",
    first: int = 1,
    groups: list[str] | None = None,
    extra_tags: dict | None = None,
) -> list[dict]:
    """Machines called `<prefix>-<number>` from `first` on, in turn in the zones' subnets of this
    kind. Without `tag` they do not bear the cluster's marks."""
    ec2 = hand.client("ec2", world["region"])
    cluster, found = world["cluster"], []
    # A call for each name would take longer than all the rest.
    names = ec2_backends[DEFAULT_ACCOUNT_ID][world["region"]]
    for index, zone in enumerate(ZONES):
        numbers = range(first + index, first + count, len(ZONES))
        if not numbers:
            continue
        marks = tags(cluster, "", extra_tags) if tag else [{"Key": "Name", "Value": ""}]
        made = ec2.run_instances(
            ImageId="ami-00000000",
            InstanceType=instance_type,
            MinCount=len(numbers),
            MaxCount=len(numbers),
            SubnetId=world[f"{subnet}_{zone}"],
            SecurityGroupIds=[world["node_group"]] if groups is None else groups,
            TagSpecifications=[{"ResourceType": "instance", "Tags": marks}],
        )["Instances"]
        for number, instance in zip(numbers, made, strict=True):
            name = f"{prefix}-{number}"
            names.tags[instance["InstanceId"]]["Name"] = name
            found.append(
                (
                    number,
                    {
                        "id": instance["InstanceId"],
                        "name": name,
                        "zone": instance["Placement"]["AvailabilityZone"],
                        "private_ip": instance["PrivateIpAddress"],
                        "private_dns": instance["PrivateDnsName"],
                        "instance_type": instance_type,
                    },
                )
            )
    return [instance for _, instance in sorted(found, key=lambda pair: pair[0])]
