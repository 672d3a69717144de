"""All that bears a cluster's mark, as lines without IDs: equal for equal clouds."""


def take(hand, cluster: str, region: str = "us-east-1") -> list[str]:
    """Sorted lines. Things are called by their names, machines by their Name tag."""
    return sorted(Snapshot(hand, cluster, region).lines())


class Snapshot:
    def __init__(self, hand, cluster: str, region: str):
        self.cluster = cluster
        self.ec2, self.elb, self.elbv2 = (
            hand.client(service, region) for service in ("ec2", "elb", "elbv2")
        )
        self.names: dict[str, str] = {}

    def lines(self):
        # Names first: the others are told by them.
        instances = [
            instance
            for page in self.ec2.get_paginator("describe_instances").paginate()
            for reservation in page["Reservations"]
            for instance in reservation["Instances"]
        ]
        subnets = self.ec2.describe_subnets()["Subnets"]
        groups = self.ec2.describe_security_groups()["SecurityGroups"]
        tables = self.ec2.describe_route_tables()["RouteTables"]
        for instance in instances:
            self.names[instance["InstanceId"]] = name_of(instance, instance.get("PrivateDnsName"))
        for subnet in subnets:
            self.names[subnet["SubnetId"]] = name_of(subnet, subnet["CidrBlock"])
        for table in tables:
            self.names[table["RouteTableId"]] = name_of(table, "main")
        for group in groups:
            self.names[group["GroupId"]] = group["GroupName"]
        for instance in instances:
            if self.ours(tags_of(instance)):
                yield from self.instance(instance)
        for group in groups:
            if self.ours(tags_of(group)):
                yield from self.group(group)
        vpcs = {t["VpcId"] for t in tables if self.ours(tags_of(t))}
        for table in tables:
            if table["VpcId"] in vpcs:
                yield from self.table(table)
        yield from self.classic()
        yield from self.balancers()

    def ours(self, tags: dict) -> bool:
        return (
            f"kubernetes.io/cluster/{self.cluster}" in tags
            or tags.get("KubernetesCluster") == self.cluster
        )

    def called(self, ids) -> str:
        return ", ".join(sorted(self.names.get(found, found) for found in ids))

    def instance(self, instance):
        name, check = self.names[instance["InstanceId"]], instance.get("SourceDestCheck")
        # A terminated one has no interface any more.
        said = "" if check is None else f", source/dest check {'on' if check else 'off'}"
        yield f"instance {name}: {instance['State']['Name']}{said}"

    def group(self, group):
        name = f"security group {group['GroupName']}"
        yield f"{name}: tags {joined(tags_of(group))}"
        for direction, key in (("in", "IpPermissions"), ("out", "IpPermissionsEgress")):
            for rule in group[key]:
                yield from (f"{name}: {direction} {text}" for text in self.rule(rule))

    def rule(self, rule):
        protocol = rule["IpProtocol"]
        ports = "" if protocol == "-1" else f" {rule.get('FromPort')}-{rule.get('ToPort')}"
        peers = (
            ("IpRanges", "CidrIp"),
            ("Ipv6Ranges", "CidrIpv6"),
            ("UserIdGroupPairs", "GroupId"),
            ("PrefixListIds", "PrefixListId"),
        )
        for key, which in peers:
            for peer in rule.get(key, []):
                who = self.names.get(peer[which], peer[which])
                said = f" ({peer['Description']})" if peer.get("Description") else ""
                yield f"{protocol}{ports} {who}{said}"

    def table(self, table):
        for route in table["Routes"]:
            to = route.get("DestinationCidrBlock") or route.get("DestinationIpv6CidrBlock")
            target = route.get("InstanceId")
            if target:
                yield (
                    f"route table {self.names[table['RouteTableId']]}: {to} to "
                    f"{self.names.get(target, 'an unknown instance')}, {route['State']}"
                )

    def classic(self):
        for found in (
            self.elb.get_paginator("describe_load_balancers")
            .paginate()
            .search("LoadBalancerDescriptions[]")
        ):
            called = found["LoadBalancerName"]
            tags = plain(
                self.elb.describe_tags(LoadBalancerNames=[called])["TagDescriptions"][0]["Tags"]
            )
            if self.ours(tags):
                yield from self.classic_one(found, tags)

    def classic_one(self, found, tags):
        called = found["LoadBalancerName"]
        name = f"classic load balancer {called}"
        yield f"{name}: {found['Scheme']}"
        yield f"{name}: tags {joined(tags)}"
        yield f"{name}: subnets {self.called(found['Subnets'])}"
        yield f"{name}: security groups {self.called(found['SecurityGroups'])}"
        for listener in found["ListenerDescriptions"]:
            one = listener["Listener"]
            yield (
                f"{name}: listener {one['LoadBalancerPort']} {one['Protocol']} to "
                f"{one['InstancePort']} {one.get('InstanceProtocol')}, certificate "
                f"{one.get('SSLCertificateId')}, policies {sorted(listener['PolicyNames'])}"
            )
        for backend in found.get("BackendServerDescriptions", []):
            if backend["PolicyNames"]:
                yield f"{name}: backend {backend['InstancePort']} policies {backend['PolicyNames']}"
        health = found.get("HealthCheck")
        yield f"{name}: health check {joined(health) if health else 'none'}"
        for machine in found["Instances"]:
            target = machine["InstanceId"]
            yield f"{name}: instance {self.names.get(target, 'an unknown instance')}"
        attributes = self.elb.describe_load_balancer_attributes(LoadBalancerName=called)[
            "LoadBalancerAttributes"
        ]
        for key, value in attributes.items():
            text = joined(value) if isinstance(value, dict) else joined(plain(value))
            yield f"{name}: attribute {key} {text}"
        for policy in self.elb.describe_load_balancer_policies(LoadBalancerName=called)[
            "PolicyDescriptions"
        ]:
            yield f"{name}: policy {policy['PolicyName']} {policy['PolicyTypeName']}"

    def tags(self, arns) -> dict[str, dict]:
        found = {}
        for start in range(0, len(arns), 20):
            some = self.elbv2.describe_tags(ResourceArns=arns[start : start + 20])
            found |= {d["ResourceArn"]: plain(d["Tags"]) for d in some["TagDescriptions"]}
        return found

    def balancers(self):
        groups = list(
            self.elbv2.get_paginator("describe_target_groups").paginate().search("TargetGroups[]")
        )
        called = {group["TargetGroupArn"]: group["TargetGroupName"] for group in groups}
        balancers = list(
            self.elbv2.get_paginator("describe_load_balancers").paginate().search("LoadBalancers[]")
        )
        tags = self.tags([b["LoadBalancerArn"] for b in balancers] + list(called))
        for found in balancers:
            if self.ours(tags[found["LoadBalancerArn"]]):
                yield from self.balancer(found, tags[found["LoadBalancerArn"]], called)
        for group in groups:
            if self.ours(tags[group["TargetGroupArn"]]):
                yield from self.target_group(
                    group,
                    tags[group["TargetGroupArn"]],
                    {b["LoadBalancerArn"]: b["LoadBalancerName"] for b in balancers},
                )

    def balancer(self, found, tags, target_groups):
        arn = found["LoadBalancerArn"]
        name = f"load balancer {found['LoadBalancerName']}"
        yield (f"{name}: {found['Type']}, {found.get('Scheme')}, {found.get('IpAddressType')}")
        yield f"{name}: tags {joined(tags)}"
        for zone in found["AvailabilityZones"]:
            subnet = self.names.get(zone["SubnetId"], zone["SubnetId"])
            extra = [
                (k, a[k])
                for a in zone.get("LoadBalancerAddresses", [])
                for k in ("AllocationId", "PrivateIPv4Address")
                if a.get(k)
            ]
            yield f"{name}: subnet {subnet}{''.join(f', {k}={v}' for k, v in extra)}"
        yield f"{name}: security groups {self.called(found.get('SecurityGroups', []))}"
        attributes = self.elbv2.describe_load_balancer_attributes(LoadBalancerArn=arn)
        for key, value in plain(attributes["Attributes"]).items():
            yield f"{name}: attribute {key}={value}"
        listeners = list(
            self.elbv2.get_paginator("describe_listeners")
            .paginate(LoadBalancerArn=arn)
            .search("Listeners[]")
        )
        marks = self.tags([listener["ListenerArn"] for listener in listeners])
        for listener in listeners:
            one = f"{name}: listener {listener['Port']} {listener['Protocol']}"
            actions = [self.action(action, target_groups) for action in listener["DefaultActions"]]
            certificates = [c["CertificateArn"] for c in listener.get("Certificates") or []]
            yield f"{one} {'; '.join(actions)}"
            yield f"{one}: tags {joined(marks[listener['ListenerArn']])}"
            if listener.get("SslPolicy") or certificates:
                yield f"{one}: policy {listener.get('SslPolicy')}, certificates {certificates}"
            if listener.get("AlpnPolicy"):
                yield f"{one}: ALPN {listener['AlpnPolicy']}"

    @staticmethod
    def action(action, target_groups) -> str:
        weighted = action.get("ForwardConfig", {}).get("TargetGroups", [])
        arns = {action.get("TargetGroupArn")} | {g["TargetGroupArn"] for g in weighted}
        names = sorted(target_groups.get(arn, "an unknown group") for arn in arns if arn)
        return f"{action['Type']} to {', '.join(names)}"

    def target_group(self, group, tags, balancers):
        arn = group["TargetGroupArn"]
        name = f"target group {group['TargetGroupName']}"
        yield (
            f"{name}: {group['Protocol']} {group['Port']} {group['TargetType']} "
            f"{group.get('IpAddressType')}"
        )
        yield f"{name}: tags {joined(tags)}"
        used_by = sorted(
            balancers.get(b, "an unknown load balancer") for b in group.get("LoadBalancerArns", [])
        )
        yield f"{name}: of {', '.join(used_by) or 'no load balancer'}"
        health = {
            key: value
            for key, value in group.items()
            if key.startswith("HealthCheck") or key.endswith("ThresholdCount") or key == "Matcher"
        }
        yield f"{name}: health check {joined(health)}"
        attributes = self.elbv2.describe_target_group_attributes(TargetGroupArn=arn)
        for key, value in plain(attributes["Attributes"]).items():
            yield f"{name}: attribute {key}={value}"
        for health in self.elbv2.describe_target_health(TargetGroupArn=arn)[
            "TargetHealthDescriptions"
        ]:
            # On its way out is out: how long that takes is no part of what was wanted.
            if health["TargetHealth"]["State"] == "draining":
                continue
            target = health["Target"]
            who = self.names.get(target["Id"], target["Id"])
            yield f"{name}: target {who}:{target.get('Port')}"


def tags_of(thing) -> dict:
    return plain(thing.get("Tags", []))


def plain(pairs) -> dict:
    return {pair["Key"]: pair.get("Value", "") for pair in pairs}


def name_of(thing, otherwise) -> str:
    return tags_of(thing).get("Name") or otherwise or "without a name"


def joined(pairs: dict) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(pairs.items()))
