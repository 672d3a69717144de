from support import Case, client


class Elbv2(Case):
    def mapping(self, *zones, **more):
        return [{"SubnetId": self.world[f"public_{zone}"], **more} for zone in zones or ("a", "b")]

    def balancer(self, name="one", **more):
        kwargs = {"Name": name, "Type": "network", "SubnetMappings": self.mapping()} | more
        return self.elbv2.create_load_balancer(**kwargs)["LoadBalancers"][0]

    def target_group(self, name="tg", protocol="TCP", port=30080, **more):
        kwargs = {"Name": name, "Protocol": protocol, "Port": port, "VpcId": self.world["vpc"],
                  "TargetType": "instance"} | more
        return self.elbv2.create_target_group(**kwargs)["TargetGroups"][0]

    def listen(self, balancer, group, port=80, protocol="TCP", **more):
        return self.elbv2.create_listener(
            LoadBalancerArn=balancer["LoadBalancerArn"], Port=port, Protocol=protocol,
            DefaultActions=self.forward(group), **more)["Listeners"][0]

    def forward(self, group):
        return [{"Type": "forward", "TargetGroupArn": group["TargetGroupArn"]}]

    def certificate(self, domain="example.org"):
        return client("acm").request_certificate(DomainName=domain)["CertificateArn"]

    def described(self, balancer):
        return self.elbv2.describe_load_balancers(
            LoadBalancerArns=[balancer["LoadBalancerArn"]])["LoadBalancers"][0]

    def described_group(self, group):
        return self.elbv2.describe_target_groups(
            TargetGroupArns=[group["TargetGroupArn"]])["TargetGroups"][0]

    # Load balancers.

    def test_lb_names_and_arns(self):
        made = self.balancer(Tags=[{"Key": "k", "Value": "v"}])
        number = made["LoadBalancerArn"].rpartition("/")[2]
        self.assertIn(":loadbalancer/net/one/", made["LoadBalancerArn"])
        self.assertEqual(f"one-{number}.elb.us-east-1.amazonaws.com", made["DNSName"])
        listener = self.listen(made, self.target_group())
        self.assertIn(":listener/net/one/", listener["ListenerArn"])
        tags = self.elbv2.describe_tags(ResourceArns=[made["LoadBalancerArn"]])
        self.assertEqual([{"Key": "k", "Value": "v"}], tags["TagDescriptions"][0]["Tags"])
        self.elbv2.delete_load_balancer(LoadBalancerArn=made["LoadBalancerArn"])
        self.refused("LoadBalancerNotFound", self.elbv2.describe_load_balancers, Names=["one"])

    def test_lb_scheme(self):
        self.assertEqual("internet-facing", self.balancer()["Scheme"])
        self.assertEqual("internal", self.balancer("two", Scheme="internal")["Scheme"])

    def test_lb_same_name(self):
        first = self.balancer()
        self.assertEqual(first["LoadBalancerArn"], self.balancer()["LoadBalancerArn"])
        self.refused("DuplicateLoadBalancerName", self.balancer, Scheme="internal")
        self.assertEqual(1, len(self.elbv2.describe_load_balancers()["LoadBalancers"]))
        # As it is now, not as it was made.
        one, two = self.group("one"), self.group("two")
        made = self.balancer("two", SecurityGroups=[one])["LoadBalancerArn"]
        self.elbv2.set_security_groups(LoadBalancerArn=made, SecurityGroups=[two])
        self.refused("DuplicateLoadBalancerName", self.balancer, name="two", SecurityGroups=[one])
        self.assertEqual(made, self.balancer("two", SecurityGroups=[two])["LoadBalancerArn"])
        self.elbv2.set_subnets(LoadBalancerArn=made, Subnets=[self.world["public_a"]])
        self.refused("DuplicateLoadBalancerName", self.balancer, name="two", SecurityGroups=[two])

    def test_lb_create_checks(self):
        self.refused("ValidationError", self.balancer, name="x" * 33)
        self.refused("ValidationError", self.balancer, name="-x")
        self.refused("ValidationError", self.balancer, SubnetMappings=[])
        twice = self.mapping("a") + [{"SubnetId": self.world["private_a"]}]
        self.refused("InvalidConfigurationRequest", self.balancer, SubnetMappings=twice)
        vpc = self.ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
        lonely = self.ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/24")["Subnet"]["SubnetId"]
        self.refused("InvalidSubnet", self.balancer, SubnetMappings=[{"SubnetId": lonely}])
        self.balancer("fine", SubnetMappings=[{"SubnetId": lonely}], Scheme="internal")

    def test_lb_security_groups(self):
        one, two = self.group("one"), self.group("two")
        self.refused("InvalidSecurityGroup", self.balancer, SecurityGroups=["sg-00000000000000000"])
        bare = self.balancer("bare")
        self.refused("InvalidConfigurationRequest", self.elbv2.set_security_groups,
                     LoadBalancerArn=bare["LoadBalancerArn"], SecurityGroups=[one])
        made = self.balancer("dressed", SecurityGroups=[one])
        self.elbv2.set_security_groups(LoadBalancerArn=made["LoadBalancerArn"],
                                       SecurityGroups=[two])
        self.assertEqual([two], self.described(made)["SecurityGroups"])
        self.refused("InvalidConfigurationRequest", self.elbv2.set_security_groups,
                     LoadBalancerArn=made["LoadBalancerArn"], SecurityGroups=[])

    def test_lb_state(self):
        self.settings(provisioning_s=60)
        made = self.balancer()
        self.assertEqual("provisioning", self.described(made)["State"]["Code"])
        self.settings(provisioning_s=0)
        self.assertEqual("active", self.described(made)["State"]["Code"])

    def test_lb_addresses(self):
        address = self.ec2.allocate_address(Domain="vpc")
        one = self.balancer(SubnetMappings=self.mapping(
            "a", AllocationId=address["AllocationId"]))
        self.assertEqual([{"IpAddress": address["PublicIp"],
                           "AllocationId": address["AllocationId"]}],
                         self.described(one)["AvailabilityZones"][0]["LoadBalancerAddresses"])
        two = self.balancer("two", Scheme="internal", SubnetMappings=self.mapping(
            "a", PrivateIPv4Address="10.0.0.77"))
        zone = self.described(two)["AvailabilityZones"][0]
        self.assertEqual([{"PrivateIPv4Address": "10.0.0.77"}], zone["LoadBalancerAddresses"])
        self.refused("AllocationIdNotFound", self.balancer, name="three",
                     SubnetMappings=self.mapping("a", AllocationId="eipalloc-00000000000000000"))
        again = self.mapping("a", AllocationId=address["AllocationId"])
        self.refused("ResourceInUse", self.balancer, name="three", SubnetMappings=again)
        # Each kind of address goes with its scheme, and with its subnet.
        wrong = "InvalidConfigurationRequest"
        self.refused(wrong, self.balancer, name="three", SubnetMappings=again, Scheme="internal")
        fixed = self.mapping("a", PrivateIPv4Address="10.0.0.78")
        self.refused(wrong, self.balancer, name="three", SubnetMappings=fixed)
        fixed = self.mapping("b", PrivateIPv4Address="10.0.0.78")
        self.refused(wrong, self.balancer, name="three", SubnetMappings=fixed, Scheme="internal")

    def test_lb_attributes(self):
        arn = self.balancer()["LoadBalancerArn"]
        answer = self.elbv2.describe_load_balancer_attributes(LoadBalancerArn=arn)
        found = {pair["Key"]: pair["Value"] for pair in answer["Attributes"]}
        self.assertEqual("false", found["access_logs.s3.enabled"])
        self.assertEqual("false", found["load_balancing.cross_zone.enabled"])
        self.assertNotIn("idle_timeout.timeout_seconds", found)
        change = [{"Key": "access_logs.s3.enabled", "Value": "true"}]
        self.refused("InvalidConfigurationRequest", self.elbv2.modify_load_balancer_attributes,
                     LoadBalancerArn=arn, Attributes=change)
        change.append({"Key": "access_logs.s3.bucket", "Value": "logs"})
        self.elbv2.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=change)

    def test_lb_find(self):
        one, _two = self.balancer("one"), self.balancer("two")
        self.refused("LoadBalancerNotFound", self.elbv2.describe_load_balancers,
                     Names=["one", "missing"])
        groups = [self.target_group(f"tg-{n}", port=30000 + n) for n in range(3)]
        page = self.elbv2.describe_target_groups(PageSize=2)
        self.assertEqual(2, len(page["TargetGroups"]))
        rest = self.elbv2.describe_target_groups(PageSize=2, Marker=page["NextMarker"])
        self.assertEqual(1, len(rest["TargetGroups"]))
        self.assertNotIn("NextMarker", rest)
        for port, group in enumerate(groups, 80):
            self.listen(one, group, port)
        page = self.elbv2.describe_listeners(LoadBalancerArn=one["LoadBalancerArn"], PageSize=2)
        self.assertIn("NextMarker", page)

    def test_lb_subnets(self):
        made = self.balancer()
        answer = self.elbv2.set_subnets(LoadBalancerArn=made["LoadBalancerArn"],
                                        SubnetMappings=self.mapping("a"))
        self.assertEqual([self.world["public_a"]],
                         [zone["SubnetId"] for zone in answer["AvailabilityZones"]])

    def test_lb_deletion(self):
        arn = self.balancer()["LoadBalancerArn"]
        protect = [{"Key": "deletion_protection.enabled", "Value": "true"}]
        self.elbv2.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=protect)
        self.refused("OperationNotPermitted", self.elbv2.delete_load_balancer, LoadBalancerArn=arn)
        protect[0]["Value"] = "false"
        self.elbv2.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=protect)
        self.elbv2.delete_load_balancer(LoadBalancerArn=arn)
        # A second time is no error.
        self.elbv2.delete_load_balancer(LoadBalancerArn=arn)

    def test_elbv2_tags(self):
        arn = self.balancer()["LoadBalancerArn"]
        many = [{"Key": f"k{n}", "Value": "v"} for n in range(50)]
        self.elbv2.add_tags(ResourceArns=[arn], Tags=many)
        self.refused("TooManyTags", self.elbv2.add_tags, ResourceArns=[arn],
                     Tags=[{"Key": "one-more", "Value": ""}])
        missing = arn.replace("/one/", "/other/")
        self.refused("LoadBalancerNotFound", self.elbv2.describe_tags, ResourceArns=[missing])
        self.refused("ValidationError", self.elbv2.describe_tags, ResourceArns=[arn] * 21)
        group = self.target_group()["TargetGroupArn"]
        self.refused("ValidationError", self.elbv2.add_tags, ResourceArns=[arn, group],
                     Tags=many[:1])
        self.elbv2.describe_tags(ResourceArns=[arn, group])
        listener = self.listen(self.described({"LoadBalancerArn": arn}), self.target_group())
        self.elbv2.delete_listener(ListenerArn=listener["ListenerArn"])
        self.refused("ListenerNotFound", self.elbv2.describe_tags,
                     ResourceArns=[listener["ListenerArn"]])

    # Target groups.

    def test_tg_same_settings(self):
        first = self.target_group()
        self.assertEqual(first["TargetGroupArn"], self.target_group()["TargetGroupArn"])
        self.refused("DuplicateTargetGroupName", self.target_group, port=30081)
        # As it is now, not as it was made.
        self.elbv2.modify_target_group(TargetGroupArn=first["TargetGroupArn"],
                                       HealthCheckIntervalSeconds=10)
        self.refused("DuplicateTargetGroupName", self.target_group)
        again = self.target_group(HealthCheckIntervalSeconds=10)
        self.assertEqual(first["TargetGroupArn"], again["TargetGroupArn"])

    def test_tg_load_balancers(self):
        balancer, one, two = self.balancer(), self.target_group("one"), self.target_group("two")
        arn = balancer["LoadBalancerArn"]

        def groups():
            answer = self.elbv2.describe_target_groups(LoadBalancerArn=arn)
            return [group["TargetGroupName"] for group in answer["TargetGroups"]]

        self.assertEqual([], groups())
        listener = self.listen(balancer, one)
        self.assertEqual(["one"], groups())
        self.assertEqual([arn], self.described_group(one)["LoadBalancerArns"])
        self.elbv2.modify_listener(ListenerArn=listener["ListenerArn"],
                                   DefaultActions=self.forward(two))
        self.assertEqual(["two"], groups())
        self.assertEqual([], self.described_group(one)["LoadBalancerArns"])
        self.refused("ResourceInUse", self.elbv2.delete_target_group,
                     TargetGroupArn=two["TargetGroupArn"])
        self.elbv2.delete_target_group(TargetGroupArn=one["TargetGroupArn"])
        self.elbv2.delete_load_balancer(LoadBalancerArn=arn)
        self.assertEqual([], self.described_group(two)["LoadBalancerArns"])
        self.elbv2.delete_target_group(TargetGroupArn=two["TargetGroupArn"])

    def test_tg_attributes(self):
        def attributes(group):
            answer = self.elbv2.describe_target_group_attributes(
                TargetGroupArn=group["TargetGroupArn"])
            return {pair["Key"]: pair["Value"] for pair in answer["Attributes"]}

        def modify(group, key, value):
            return {"TargetGroupArn": group["TargetGroupArn"],
                    "Attributes": [{"Key": key, "Value": value}]}

        tcp, udp = self.target_group(), self.target_group("udp", "UDP")
        found = attributes(tcp)
        self.assertEqual("true", found["preserve_client_ip.enabled"])
        self.assertEqual("false", found["proxy_protocol_v2.enabled"])
        self.assertEqual("300", found["deregistration_delay.timeout_seconds"])
        change = self.elbv2.modify_target_group_attributes
        change(**modify(tcp, "proxy_protocol_v2.enabled", "true"))
        self.assertEqual("true", attributes(tcp)["proxy_protocol_v2.enabled"])
        self.refused("ValidationError", change, **modify(tcp, "bogus", "true"))
        self.refused("ValidationError", change, **modify(tcp, "proxy_protocol_v2.enabled", "yes"))
        self.refused("InvalidConfigurationRequest", change,
                     **modify(udp, "preserve_client_ip.enabled", "false"))

    def test_tg_health_checks(self):
        plain = self.target_group()
        self.assertEqual(10, plain["HealthCheckTimeoutSeconds"])
        self.assertNotIn("HealthCheckPath", plain)
        self.assertNotIn("Matcher", plain)
        http = self.target_group("http", HealthCheckProtocol="HTTP")
        self.assertEqual(6, http["HealthCheckTimeoutSeconds"])
        self.assertEqual("/", http["HealthCheckPath"])
        self.assertEqual({"HttpCode": "200-399"}, http["Matcher"])
        arn = plain["TargetGroupArn"]
        modify = self.elbv2.modify_target_group
        modify(TargetGroupArn=arn, HealthCheckProtocol="HTTP", HealthCheckPath="/healthz",
               Matcher={"HttpCode": "200"})
        found = self.described_group(plain)
        self.assertEqual(("/healthz", {"HttpCode": "200"}),
                         (found["HealthCheckPath"], found["Matcher"]))
        self.refused("ValidationError", modify, TargetGroupArn=arn, HealthCheckProtocol="TCP",
                     HealthCheckPath="/healthz")
        modify(TargetGroupArn=arn, HealthCheckProtocol="TCP")
        self.assertNotIn("HealthCheckPath", self.described_group(plain))
        self.refused("ValidationError", modify, TargetGroupArn=arn, HealthCheckPath="/healthz")
        self.refused("ValidationError", self.target_group, name="bad", HealthCheckPath="/")
        self.refused("ValidationError", modify, TargetGroupArn=arn, HealthCheckIntervalSeconds=4)
        self.refused("ValidationError", modify, TargetGroupArn=arn, HealthyThresholdCount=11)
        self.assertEqual(30, self.described_group(plain)["HealthCheckIntervalSeconds"])
        self.refused("ValidationError", self.target_group, name="bad", UnhealthyThresholdCount=1)
        self.refused("TargetGroupNotFound", self.elbv2.describe_target_groups, Names=["bad"])

    def test_targets(self):
        one, two = self.launch(2)
        group = self.target_group()
        arn = group["TargetGroupArn"]

        def health():
            answer = self.elbv2.describe_target_health(TargetGroupArn=arn)
            return sorted((h["Target"]["Id"], h["Target"]["Port"], h["TargetHealth"]["State"])
                          for h in answer["TargetHealthDescriptions"])

        def register(*targets):
            self.elbv2.register_targets(TargetGroupArn=arn, Targets=[
                {"Id": name, "Port": port} for name, port in targets])

        register((one, 1), (one, 2), (two, 1))
        self.assertEqual(sorted([(one, 1, "unused"), (one, 2, "unused"), (two, 1, "unused")]),
                         health())
        self.listen(self.balancer(), group)
        self.elbv2.deregister_targets(TargetGroupArn=arn, Targets=[{"Id": one, "Port": 1}])
        # What is not there may be deregistered.
        self.elbv2.deregister_targets(TargetGroupArn=arn, Targets=[{"Id": one, "Port": 1}])
        self.assertEqual(sorted([(one, 2, "healthy"), (two, 1, "healthy")]), health())
        self.refused("InvalidTarget", self.elbv2.register_targets, TargetGroupArn=arn,
                     Targets=[{"Id": "i-00000000000000000"}])
        self.settings(draining_s=60)
        self.elbv2.deregister_targets(TargetGroupArn=arn, Targets=[{"Id": two, "Port": 1}])
        self.assertIn((two, 1, "draining"), health())
        self.settings(draining_s=0)
        self.assertEqual([(one, 2, "healthy")], health())
        self.ec2.stop_instances(InstanceIds=[one])
        self.assertEqual([(one, 2, "unused")], health())
        self.ec2.terminate_instances(InstanceIds=[one])
        self.assertEqual([], health())

    # Listeners.

    def test_listener_checks(self):
        balancer = self.balancer()
        tcp, udp = self.target_group(), self.target_group("udp", "UDP")
        self.listen(balancer, tcp)
        self.refused("DuplicateListener", self.listen, balancer=balancer, group=tcp)
        self.refused("DuplicateListener", self.listen, balancer=balancer, group=udp,
                     protocol="UDP")
        self.refused("InvalidConfigurationRequest", self.listen, balancer=balancer, group=tcp,
                     port=53, protocol="UDP")
        self.refused("ValidationError", self.listen, balancer=balancer, group=tcp, port=443,
                     protocol="TLS")
        certificates = [{"CertificateArn": self.certificate()}]
        self.refused("SSLPolicyNotFound", self.listen, balancer=balancer, group=tcp, port=443,
                     protocol="TLS", Certificates=certificates, SslPolicy="none-such")
        self.refused("ValidationError", self.listen, balancer=balancer, group=tcp, port=443,
                     Certificates=certificates)
        self.refused("ValidationError", self.listen, balancer=balancer, group=tcp, port=443,
                     SslPolicy="ELBSecurityPolicy-2016-08")
        self.refused("TargetGroupAssociationLimit", self.listen, balancer=self.balancer("two"),
                     group=tcp)
        self.listen(balancer, udp, 53, "UDP")
        self.listen(balancer, tcp, 443, "TLS", Certificates=certificates)

    def test_listener_modify(self):
        balancer, group = self.balancer(), self.target_group("both", "TCP_UDP")
        arn = self.listen(balancer, group)["ListenerArn"]
        modify = self.elbv2.modify_listener

        def now():
            return self.elbv2.describe_listeners(ListenerArns=[arn])["Listeners"][0]

        for protocol in ("UDP", "TCP_UDP", "TCP"):
            modify(ListenerArn=arn, Protocol=protocol)
            self.assertEqual(protocol, now()["Protocol"])
        tcp = self.target_group()
        one, two = self.certificate("one.org"), self.certificate("two.org")
        self.refused("ValidationError", modify, ListenerArn=arn, Protocol="TLS",
                     DefaultActions=self.forward(tcp))
        modify(ListenerArn=arn, Protocol="TLS", Certificates=[{"CertificateArn": one}],
               DefaultActions=self.forward(tcp))
        self.assertEqual("ELBSecurityPolicy-2016-08", now()["SslPolicy"])
        modify(ListenerArn=arn, SslPolicy="ELBSecurityPolicy-TLS13-1-2-2021-06",
               Certificates=[{"CertificateArn": two}])
        self.assertEqual([{"CertificateArn": two}], now()["Certificates"])
        self.assertEqual("ELBSecurityPolicy-TLS13-1-2-2021-06", now()["SslPolicy"])
        self.refused("ValidationError", modify, ListenerArn=arn, Protocol="TCP",
                     Certificates=[{"CertificateArn": two}])
        modify(ListenerArn=arn, Protocol="TCP")
        self.assertNotIn("SslPolicy", now())
        self.assertNotIn("Certificates", {k for k, v in now().items() if v})
        modify(ListenerArn=arn, Port=8080)
        self.assertEqual(8080, now()["Port"])
        self.listen(balancer, tcp, 81)
        self.refused("DuplicateListener", modify, ListenerArn=arn, Port=81)
        self.refused("CertificateNotFound", modify, ListenerArn=arn, Protocol="TLS",
                     Certificates=[{"CertificateArn": one + "0"}])

    def test_listener_ssl_policy(self):
        balancer, group = self.balancer(), self.target_group()
        self.assertNotIn("SslPolicy", self.listen(balancer, group))
        secure = self.listen(balancer, group, 443, "TLS",
                             Certificates=[{"CertificateArn": self.certificate()}])
        self.assertEqual("ELBSecurityPolicy-2016-08", secure["SslPolicy"])

    def test_listener_actions(self):
        group = self.target_group()
        action = self.listen(self.balancer(), group)["DefaultActions"][0]
        arn = group["TargetGroupArn"]
        self.assertEqual(arn, action["TargetGroupArn"])
        self.assertEqual(arn, action["ForwardConfig"]["TargetGroups"][0]["TargetGroupArn"])
