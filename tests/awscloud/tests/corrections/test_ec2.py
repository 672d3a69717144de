import json
import time
import urllib.request

from support import URL, Case, control


def by(name, *values):
    return {"Filters": [{"Name": name, "Values": list(values)}]}


class Ec2(Case):
    ABSENT = "i-00000000000000000"

    def ids(self, **kwargs):
        answer = self.ec2.describe_instances(**kwargs)
        return sorted(i["InstanceId"] for r in answer["Reservations"] for i in r["Instances"])

    def one(self, name):
        answer = self.ec2.describe_instances(InstanceIds=[name])
        return answer["Reservations"][0]["Instances"][0]

    def test_instance_metadata(self):
        self.settings(imds_instance_id="i-0123456789abcdef0", imds_region="eu-west-1")

        def get(path):
            with urllib.request.urlopen(f"{URL}/latest/{path}") as answer:
                return answer.read().decode()

        document = json.loads(get("dynamic/instance-identity/document"))
        self.assertEqual(("i-0123456789abcdef0", "eu-west-1"),
                         (document["instanceId"], document["region"]))
        self.assertEqual("i-0123456789abcdef0", get("meta-data/instance-id"))
        token = urllib.request.Request(f"{URL}/latest/api/token", method="PUT")
        with urllib.request.urlopen(token) as answer:
            self.assertTrue(answer.read())

    def test_instance_ids(self):
        for wrong in ("i-xyz", "i-123", "node-1"):
            self.refused("InvalidInstanceID.Malformed", self.ids, InstanceIds=[wrong])
        self.refused("InvalidInstanceID.NotFound", self.ids, InstanceIds=[self.ABSENT])
        [name] = self.launch()
        self.assertEqual([name], self.ids(InstanceIds=[name, name]))
        # An absent one in a filter is no error.
        self.assertEqual([name], self.ids(**by("instance-id", name, self.ABSENT)))

    def test_filter_limit(self):
        names = [f"i-{n:017x}" for n in range(201)]
        self.refused("FilterLimitExceeded", self.ids, **by("instance-id", *names))
        self.assertEqual([], self.ids(**by("instance-id", *names[:200])))

    def test_describe_instances(self):
        names = sorted(self.launch(7))
        first = self.ec2.describe_instances(MaxResults=5)
        self.assertEqual(5, sum(len(r["Instances"]) for r in first["Reservations"]))
        paginator = self.ec2.get_paginator("describe_instances")
        pages = paginator.paginate(PaginationConfig={"PageSize": 5})
        self.assertEqual(names, sorted(i["InstanceId"] for page in pages
                                       for r in page["Reservations"] for i in r["Instances"]))
        self.refused("InvalidParameterValue", self.ids, MaxResults=5, NextToken="bogus")
        self.refused("InvalidParameterValue", self.ids, MaxResults=4)
        self.refused("InvalidParameterCombination", self.ids, MaxResults=5, InstanceIds=names[:1])
        found = self.one(names[0])
        self.assertEqual(names[:1], self.ids(**by(
            "network-interface.addresses.private-ip-address", found["PrivateIpAddress"])))
        self.assertEqual(names, self.ids(**by("private-dns-name", "ip-10-*")))
        self.assertEqual(names, self.ids(**by("tag:kubernetes.io/cluster/c", "owned")))
        self.assertEqual([], self.ids(**by("tag:kubernetes.io/cluster/d", "owned")))
        card = found["NetworkInterfaces"][0]
        self.assertEqual((0, "in-use"), (card["Attachment"]["DeviceIndex"], card["Status"]))
        self.assertEqual([self.world["node_group"]],
                         [group["GroupId"] for group in found["SecurityGroups"]])

    def test_run_instances(self):
        # Its own seconds, for the machine may be busy, beside those of ten million additions, for it
        # may be slow. moto alone needs more than twice as many.
        _ = self.world
        begun = time.process_time()
        sum(range(10_000_000))
        unit = time.process_time() - begun
        before = control("cpu")["seconds"]
        self.launch(1000)
        launched = control("cpu")["seconds"]
        self.assertLess(launched - before, 20 * unit)
        self.assertEqual(1000, len(self.ids()))
        self.assertLess(control("cpu")["seconds"] - launched, 10 * unit)

    def test_terminated_instances(self):
        [name] = self.launch()
        found = self.one(name)
        self.ec2.terminate_instances(InstanceIds=[name])
        after = self.one(name)
        self.assertEqual("terminated", after["State"]["Name"])
        for gone in ("VpcId", "SubnetId", "PrivateIpAddress"):
            self.assertNotIn(gone, after)
        self.assertEqual([], after["NetworkInterfaces"])
        self.assertEqual("", after["PrivateDnsName"])
        for key, value in (("vpc-id", found["VpcId"]),
                           ("private-dns-name", found["PrivateDnsName"])):
            self.assertEqual([], self.ids(**by(key, value)))
        card = found["NetworkInterfaces"][0]["NetworkInterfaceId"]
        self.assertEqual([], self.ec2.describe_network_interfaces(
            **by("network-interface-id", card))["NetworkInterfaces"])
        self.settings(terminated_s=0)
        self.refused("InvalidInstanceID.NotFound", self.ids, InstanceIds=[name])

    def test_new_instances(self):
        _ = self.world
        self.settings(unknown_s=60)
        [name] = self.launch()
        self.assertEqual([], self.ids())
        self.refused("InvalidInstanceID.NotFound", self.ids, InstanceIds=[name])
        self.settings(unknown_s=0)
        self.assertEqual([name], self.ids(InstanceIds=[name]))

    def test_instance_topology(self):
        [big] = self.launch(instance_type="p5.48xlarge")
        [small] = self.launch(first=2)
        describe = self.ec2.describe_instance_topology
        self.assertEqual([], describe(InstanceIds=[big, small])["Instances"])
        self.settings(topology={"p5.48xlarge": ["nn-1", "nn-2"]})
        [found] = describe(InstanceIds=[big, small])["Instances"]
        self.assertEqual((big, ["nn-1", "nn-2"]), (found["InstanceId"], found["NetworkNodes"]))
        self.refused("InvalidInstanceID.NotFound", describe, InstanceIds=[self.ABSENT])

    def second_card(self, name):
        card = self.ec2.create_network_interface(SubnetId=self.world["private_a"])
        card = card["NetworkInterface"]["NetworkInterfaceId"]
        self.ec2.attach_network_interface(NetworkInterfaceId=card, InstanceId=name, DeviceIndex=1)
        return card

    def test_source_dest_check(self):
        [name] = self.launch()
        off = {"InstanceId": name, "SourceDestCheck": {"Value": False}}
        self.ec2.modify_instance_attribute(**off)
        found = self.one(name)
        self.assertFalse(found["SourceDestCheck"])
        self.assertFalse(found["NetworkInterfaces"][0]["SourceDestCheck"])
        self.second_card(name)
        self.refused("InvalidInstanceID", self.ec2.modify_instance_attribute, **off)
        card = found["NetworkInterfaces"][0]["NetworkInterfaceId"]
        self.ec2.modify_network_interface_attribute(NetworkInterfaceId=card,
                                                    SourceDestCheck={"Value": True})
        self.assertTrue(self.one(name)["SourceDestCheck"])

    def test_interface_filters(self):
        [name] = self.launch()
        found = self.one(name)
        card = found["NetworkInterfaces"][0]["NetworkInterfaceId"]
        extra = "10.0.32.200"
        self.ec2.assign_private_ip_addresses(NetworkInterfaceId=card, PrivateIpAddresses=[extra])
        for key, value in (("addresses.private-ip-address", extra),
                           ("private-dns-name", found["PrivateDnsName"]),
                           ("attachment.device-index", "0")):
            filters = by(key, value)
            filters["Filters"] += by("attachment.status", "attached")["Filters"]
            cards = self.ec2.describe_network_interfaces(**filters)["NetworkInterfaces"]
            self.assertEqual([card], [c["NetworkInterfaceId"] for c in cards], key)

    def test_create_tags(self):
        tags = [{"Key": "k", "Value": "v"}]
        self.refused("InvalidInstanceID.NotFound", self.ec2.create_tags, Resources=[self.ABSENT],
                     Tags=tags)
        [name] = self.launch()
        self.refused("InvalidParameterValue", self.ec2.create_tags, Resources=[name],
                     Tags=[{"Key": "aws:x", "Value": "v"}])
        self.ec2.create_tags(Resources=[name], Tags=tags)
        self.assertIn(tags[0], self.one(name)["Tags"])

    def test_ec2_pages(self):
        for number in range(6):
            self.group(f"g{number}")
        first = self.ec2.describe_security_groups(MaxResults=5)
        self.assertEqual(5, len(first["SecurityGroups"]))
        rest = self.ec2.describe_security_groups(MaxResults=5, NextToken=first["NextToken"])
        everything = self.ec2.describe_security_groups()["SecurityGroups"]
        self.assertEqual([group["GroupId"] for group in everything],
                         [group["GroupId"] for page in (first, rest)
                          for group in page["SecurityGroups"]])
        self.refused("InvalidParameterValue", self.ec2.describe_route_tables, NextToken="bogus")
        tables = self.ec2.describe_route_tables(MaxResults=5)
        self.assertNotIn("NextToken", tables)


class SecurityGroups(Case):
    def permission(self, port=80, cidr="10.1.0.0/16", protocol="tcp", **more):
        return {"IpProtocol": protocol, "FromPort": port, "ToPort": port,
                "IpRanges": [{"CidrIp": cidr, **more}]}

    def allow(self, group, *permissions):
        return self.ec2.authorize_security_group_ingress(GroupId=group,
                                                         IpPermissions=list(permissions))

    def revoke(self, group, *permissions):
        return self.ec2.revoke_security_group_ingress(GroupId=group,
                                                      IpPermissions=list(permissions))

    def rules(self, group):
        found = self.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]
        return sorted((p["IpProtocol"], p.get("FromPort"), r["CidrIp"])
                      for p in found["IpPermissions"] for r in p["IpRanges"])

    def test_sg_rule_text(self):
        group = self.group()
        for wrong in (self.permission(protocol="tls"), self.permission(cidr="fd00::/8"),
                      self.permission(cidr="10.0.0.0/33"), self.permission(port=70000),
                      self.permission(Description="it's one")):
            with self.assertRaisesRegex(Exception, "InvalidParameterValue"):
                self.allow(group, wrong)
        self.allow(group, self.permission(cidr="10.1.2.3/16",
                                          Description="kubernetes.io/rule/nlb/client=a"))
        self.assertEqual([("tcp", 80, "10.1.0.0/16")], self.rules(group))
        with self.assertRaisesRegex(Exception, "InvalidPermission.Duplicate"):
            self.allow(group, self.permission())
        self.revoke(group, self.permission(cidr="10.1.9.9/16"))
        self.assertEqual([], self.rules(group))

    def test_sg_rule_equality(self):
        group, other = self.group(), self.group("other")

        def of(text):
            return {"IpProtocol": "-1",
                    "UserIdGroupPairs": [{"GroupId": other, "Description": text}]}

        self.allow(group, of("one"))
        with self.assertRaisesRegex(Exception, "InvalidPermission.Duplicate"):
            self.allow(group, of("two"))
        self.revoke(group, {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": other}]})
        found = self.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]
        self.assertEqual([], found["IpPermissions"])

    def test_sg_rules_atomic(self):
        group = self.group()
        answer = self.allow(group, self.permission(1), self.permission(2))
        self.assertEqual(2, len(answer["SecurityGroupRules"]))
        with self.assertRaisesRegex(Exception, "InvalidPermission.Duplicate"):
            self.allow(group, self.permission(3), self.permission(2))
        with self.assertRaisesRegex(Exception, "InvalidPermission.NotFound"):
            self.revoke(group, self.permission(1), self.permission(3))
        self.assertEqual([("tcp", port, "10.1.0.0/16") for port in (1, 2)], self.rules(group))

    def test_sg_rules_atomic__limit(self):
        group = self.group()
        self.allow(group, *(self.permission(port) for port in range(1, 60)))
        with self.assertRaisesRegex(Exception, "RulesPerSecurityGroupLimitExceeded"):
            self.allow(group, self.permission(60), self.permission(61))
        self.assertEqual(59, len(self.rules(group)))
        self.allow(group, self.permission(60))

    def test_sg_names(self):
        self.refused("InvalidParameterValue", self.group, name="it's one")
        self.refused("InvalidParameterValue", self.group, name="sg-x")
        self.refused("InvalidGroup.Duplicate", self.group, name=self.named("twice"))

    def named(self, name):
        self.group(name)
        return name

    def test_sg_deletion(self):
        def delete(group):
            self.ec2.delete_security_group(GroupId=group)

        def kept(group):
            self.refused("DependencyViolation", self.ec2.delete_security_group, GroupId=group)

        group, other = self.group(), self.group("other")
        rule = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}
        # A rule of its own does not keep it.
        self.allow(group, rule)
        self.allow(other, rule)
        kept(group)
        self.revoke(other, rule)
        balancer = self.elbv2.create_load_balancer(
            Name="n", Type="network", Subnets=[self.world["public_a"]], SecurityGroups=[group])
        kept(group)
        self.settings(lingering_s=60)
        self.elbv2.delete_load_balancer(
            LoadBalancerArn=balancer["LoadBalancers"][0]["LoadBalancerArn"])
        kept(group)
        self.settings(lingering_s=0)
        delete(group)
        self.elb.create_load_balancer(
            LoadBalancerName="c", Subnets=[self.world["public_a"]], SecurityGroups=[other],
            Listeners=[{"Protocol": "TCP", "LoadBalancerPort": 80, "InstancePort": 80}])
        kept(other)
        self.elb.delete_load_balancer(LoadBalancerName="c")
        delete(other)
        [name] = self.launch()
        kept(self.world["node_group"])
        self.ec2.terminate_instances(InstanceIds=[name])
        delete(self.world["node_group"])
        default = self.ec2.describe_security_groups(**by("group-name", "default"))
        self.refused("CannotDelete", self.ec2.delete_security_group,
                     GroupId=default["SecurityGroups"][0]["GroupId"])


class Routes(Case):
    def route(self, cidr, **target):
        return {"RouteTableId": self.world["public_table"], "DestinationCidrBlock": cidr, **target}

    def routes(self):
        answer = self.ec2.describe_route_tables(RouteTableIds=[self.world["public_table"]])
        return {route.get("DestinationCidrBlock") or route.get("DestinationIpv6CidrBlock"): route
                for route in answer["RouteTables"][0]["Routes"]}

    def test_route_host_bits(self):
        [name] = self.launch()
        self.ec2.create_route(**self.route("100.96.1.7/24", InstanceId=name))
        self.assertIn("100.96.1.0/24", self.routes())
        self.ec2.create_route(**self.route("100.96.2.0/24", InstanceId=name))
        self.ec2.delete_route(**self.route("100.96.1.9/24"))
        self.assertNotIn("100.96.1.0/24", self.routes())
        self.refused("InvalidParameterValue", self.ec2.create_route,
                     **self.route("100.96.300.0/24", InstanceId=name))

    def test_route_blackhole(self):
        one, two = self.launch(2)
        self.ec2.create_route(**self.route("100.96.1.0/24", InstanceId=one))
        self.ec2.create_route(**self.route("100.96.2.0/24", InstanceId=two))
        self.ec2.stop_instances(InstanceIds=[one])
        self.assertEqual("blackhole", self.routes()["100.96.1.0/24"]["State"])
        self.assertEqual(one, self.routes()["100.96.1.0/24"]["InstanceId"])
        self.ec2.start_instances(InstanceIds=[one])
        self.assertEqual("active", self.routes()["100.96.1.0/24"]["State"])
        self.ec2.terminate_instances(InstanceIds=[two])
        self.assertEqual("blackhole", self.routes()["100.96.2.0/24"]["State"])
        self.assertNotIn("InstanceId", self.routes()["100.96.2.0/24"])

    def test_route_interface(self):
        one, two = self.launch(2)
        card = self.ec2.describe_instances(InstanceIds=[two])["Reservations"][0]["Instances"][0]
        card = card["NetworkInterfaces"][0]["NetworkInterfaceId"]
        self.ec2.create_route(**self.route("100.96.1.0/24", InstanceId=one))
        self.ec2.create_route(**self.route("100.96.2.0/24", NetworkInterfaceId=card))
        self.assertTrue(self.routes()["100.96.1.0/24"]["NetworkInterfaceId"].startswith("eni-"))
        self.assertEqual(two, self.routes()["100.96.2.0/24"]["InstanceId"])
        self.ec2.replace_route(**self.route("100.96.2.0/24", InstanceId=one))
        self.assertEqual(one, self.routes()["100.96.2.0/24"]["InstanceId"])
        self.assertNotEqual(card, self.routes()["100.96.2.0/24"]["NetworkInterfaceId"])

    def test_route_checks(self):
        [name] = self.launch()
        for taken in ("10.0.0.0/16", "0.0.0.0/0"):
            self.refused("RouteAlreadyExists", self.ec2.create_route,
                         **self.route(taken, InstanceId=name))
        six = {"RouteTableId": self.world["public_table"],
               "DestinationIpv6CidrBlock": "fd00::/64", "InstanceId": name}
        self.ec2.create_route(**six)
        self.refused("RouteAlreadyExists", self.ec2.create_route, **six)
        self.settings(routes_per_table=3)
        self.ec2.create_route(**self.route("100.96.1.0/24", InstanceId=name))
        self.refused("RouteLimitExceeded", self.ec2.create_route,
                     **self.route("100.96.2.0/24", InstanceId=name))
        self.settings(routes_per_table=50)
        Ec2.second_card(self, name)
        self.refused("InvalidInstanceID", self.ec2.create_route,
                     **self.route("100.96.2.0/24", InstanceId=name))
