from support import Case, client


class Classic(Case):
    def listener(self, port=80, instance=30080, protocol="TCP", **more):
        return {"Protocol": protocol, "LoadBalancerPort": port, "InstancePort": instance, **more}

    def make(self, *listeners, name="one", **more):
        kwargs = {"LoadBalancerName": name, "Subnets": [self.world["public_a"]],
                  "Listeners": list(listeners) or [self.listener()]} | more
        return self.elb.create_load_balancer(**kwargs)

    def described(self, name="one"):
        answer = self.elb.describe_load_balancers(LoadBalancerNames=[name])
        return answer["LoadBalancerDescriptions"][0]

    def listeners(self):
        return {one["Listener"]["LoadBalancerPort"]: one["Listener"]
                for one in self.described()["ListenerDescriptions"]}

    def certificate(self):
        return client("acm").request_certificate(DomainName="example.org")["CertificateArn"]

    def attributes(self):
        answer = self.elb.describe_load_balancer_attributes(LoadBalancerName="one")
        return answer["LoadBalancerAttributes"]

    def modify(self, **attributes):
        return {"LoadBalancerName": "one", "LoadBalancerAttributes": attributes}

    def test_classic_missing(self):
        missing = {"LoadBalancerName": "missing"}
        self.refused("LoadBalancerNotFound", self.elb.describe_load_balancer_attributes, **missing)
        self.refused("LoadBalancerNotFound", self.elb.create_load_balancer_listeners,
                     Listeners=[self.listener()], **missing)
        self.refused("LoadBalancerNotFound", self.elb.register_instances_with_load_balancer,
                     Instances=[], **missing)
        self.elb.delete_load_balancer(**missing)

    def test_classic_names(self):
        self.assertRegex(self.make()["DNSName"], r"^one-\d+\.us-east-1\.elb\.amazonaws\.com$")
        inner = self.make(name="two", Scheme="internal")
        self.assertRegex(inner["DNSName"], r"^internal-two-\d+\.us-east-1\.elb\.amazonaws\.com$")
        self.assertEqual(inner["DNSName"], self.described("two")["DNSName"])
        self.refused("ValidationError", self.make, name="x" * 33)
        self.refused("DuplicateLoadBalancerName", self.make, name="one")

    def test_classic_default_group(self):
        self.make()
        [group] = self.described()["SecurityGroups"]
        found = self.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]
        self.assertEqual(("default", self.world["vpc"]), (found["GroupName"], found["VpcId"]))

    def test_classic_instance_protocol(self):
        certificate = self.certificate()
        self.make(self.listener(443, 1, "SSL", InstanceProtocol="TCP", SSLCertificateId=certificate))
        later = [self.listener(8443, 2, "https", InstanceProtocol="http",
                               SSLCertificateId=certificate),
                 self.listener(444, 3, "SSL", SSLCertificateId=certificate)]
        self.elb.create_load_balancer_listeners(LoadBalancerName="one", Listeners=later)
        found = {port: (one["Protocol"], one["InstanceProtocol"])
                 for port, one in self.listeners().items()}
        self.assertEqual({443: ("SSL", "TCP"), 8443: ("HTTPS", "HTTP"), 444: ("SSL", "TCP")}, found)
        self.refused("InvalidConfigurationRequest", self.elb.create_load_balancer_listeners,
                     LoadBalancerName="one",
                     Listeners=[self.listener(1, 1, "TCP", InstanceProtocol="HTTP")])

    def test_classic_listener_certificate(self):
        one, two = self.certificate(), self.certificate()
        self.make(self.listener(80), self.listener(443, 1, "SSL", SSLCertificateId=one))
        put = self.elb.set_load_balancer_listener_ssl_certificate
        put(LoadBalancerName="one", LoadBalancerPort=443, SSLCertificateId=two)
        self.assertEqual(two, self.listeners()[443]["SSLCertificateId"])
        for code, port, certificate in [("ListenerNotFound", 444, two),
                                        ("InvalidConfigurationRequest", 80, two),
                                        ("CertificateNotFound", 443, two + "0")]:
            self.refused(code, put, LoadBalancerName="one", LoadBalancerPort=port,
                         SSLCertificateId=certificate)
        self.refused("LoadBalancerNotFound", put, LoadBalancerName="missing",
                     LoadBalancerPort=443, SSLCertificateId=two)

    def test_classic_listener_checks(self):
        self.make()
        add = self.elb.create_load_balancer_listeners
        self.refused("ValidationError", add, LoadBalancerName="one",
                     Listeners=[self.listener(443, 1, "SSL")])
        unknown = self.certificate() + "0"
        self.refused("CertificateNotFound", add, LoadBalancerName="one", Listeners=[
            self.listener(81), self.listener(443, 1, "SSL", SSLCertificateId=unknown)])
        self.refused("DuplicateListener", add, LoadBalancerName="one",
                     Listeners=[self.listener(81), self.listener(80, 1)])
        self.assertEqual([80], list(self.listeners()))

    def test_classic_default_policy(self):
        secure = {"SSLCertificateId": self.certificate()}
        self.make(self.listener(80), self.listener(443, 1, "SSL", **secure))
        add = self.elb.create_load_balancer_listeners
        add(LoadBalancerName="one", Listeners=[self.listener(444, 2, "HTTPS", **secure)])

        def policies():
            return {one["Listener"]["LoadBalancerPort"]: one["PolicyNames"]
                    for one in self.described()["ListenerDescriptions"]}

        default = ["ELBSecurityPolicy-2016-08"]
        self.assertEqual({80: [], 443: default, 444: default}, policies())
        answer = self.elb.describe_load_balancer_policies(LoadBalancerName="one")
        self.assertEqual(default, [one["PolicyName"] for one in answer["PolicyDescriptions"]])
        put = self.elb.set_load_balancer_policies_of_listener
        put(LoadBalancerName="one", LoadBalancerPort=443, PolicyNames=[])
        add(LoadBalancerName="one", Listeners=[self.listener(445, 3, "SSL", **secure)])
        self.assertEqual({80: [], 443: [], 444: default, 445: default}, policies())

    def test_classic_listener_deletion(self):
        self.make(self.listener(80), self.listener(81), self.listener(82))
        self.elb.delete_load_balancer_listeners(LoadBalancerName="one", LoadBalancerPorts=[80, 82])
        self.assertEqual([81], list(self.listeners()))

    def proxy(self):
        return {"LoadBalancerName": "one", "PolicyName": "proxy",
                "PolicyTypeName": "ProxyProtocolPolicyType",
                "PolicyAttributes": [{"AttributeName": "ProxyProtocol", "AttributeValue": "true"}]}

    def tls_policy(self, reference):
        return {"LoadBalancerName": "one", "PolicyName": reference,
                "PolicyTypeName": "SSLNegotiationPolicyType",
                "PolicyAttributes": [{"AttributeName": "Reference-Security-Policy",
                                      "AttributeValue": reference}]}

    def test_classic_backends(self):
        self.make(self.listener(80, 1))
        self.elb.create_load_balancer_listeners(LoadBalancerName="one",
                                                Listeners=[self.listener(81, 2)])
        put = self.elb.set_load_balancer_policies_for_backend_server
        self.refused("PolicyNotFound", put, LoadBalancerName="one", InstancePort=2,
                     PolicyNames=["proxy"])
        self.elb.create_load_balancer_policy(**self.proxy())
        put(LoadBalancerName="one", InstancePort=2, PolicyNames=["proxy"])
        self.assertEqual([{"InstancePort": 2, "PolicyNames": ["proxy"]}],
                         self.described()["BackendServerDescriptions"])
        put(LoadBalancerName="one", InstancePort=2, PolicyNames=[])
        self.assertEqual([], self.described()["BackendServerDescriptions"])
        self.refused("InvalidConfigurationRequest", put, LoadBalancerName="one", InstancePort=3,
                     PolicyNames=[])
        self.refused("ListenerNotFound", self.elb.set_load_balancer_policies_of_listener,
                     LoadBalancerName="one", LoadBalancerPort=99, PolicyNames=["proxy"])
        put = self.elb.set_load_balancer_policies_of_listener
        name = "ELBSecurityPolicy-TLS-1-2-2017-01"
        asked = {"LoadBalancerName": "one", "LoadBalancerPort": 80, "PolicyNames": [name]}
        self.refused("PolicyNotFound", put, **asked)
        self.elb.create_load_balancer_policy(**self.tls_policy(name))
        self.refused("InvalidConfigurationRequest", put, **asked)

    def test_classic_policies(self):
        self.make()
        create = self.elb.create_load_balancer_policy
        create(**self.proxy())
        create(**self.proxy())
        other = self.proxy()
        other["PolicyAttributes"][0]["AttributeValue"] = "false"
        self.refused("DuplicatePolicyName", create, **other)
        wrong = self.tls_policy("ELBSecurityPolicy-TLS-1-2-2071-01")
        self.refused("InvalidConfigurationRequest", create, **wrong)
        self.elb.set_load_balancer_policies_for_backend_server(
            LoadBalancerName="one", InstancePort=30080, PolicyNames=["proxy"])
        gone = {"LoadBalancerName": "one", "PolicyName": "proxy"}
        self.refused("InvalidConfigurationRequest", self.elb.delete_load_balancer_policy, **gone)

    def test_classic_health_check(self):
        self.make()
        self.assertEqual({"Target": "TCP:30080", "Interval": 30, "Timeout": 5,
                          "UnhealthyThreshold": 2, "HealthyThreshold": 10},
                         self.described()["HealthCheck"])
        check = {"Target": "HTTP:1/x", "Interval": 10, "Timeout": 5, "UnhealthyThreshold": 6,
                 "HealthyThreshold": 2}
        configure = self.elb.configure_health_check
        configure(LoadBalancerName="one", HealthCheck=check)
        for wrong in ({"Interval": 4}, {"Timeout": 10}, {"HealthyThreshold": 11},
                      {"Target": "HTTP:1"}):
            self.refused("ValidationError", configure, LoadBalancerName="one",
                         HealthCheck=check | wrong)
        self.assertEqual(check, self.described()["HealthCheck"])

    def test_classic_attributes(self):
        self.make()
        extra = [{"Key": "elb.http.desyncmitigationmode", "Value": "defensive"}]
        self.assertEqual(extra, self.attributes()["AdditionalAttributes"])
        self.assertEqual({"Enabled": False, "Timeout": 300}, self.attributes()["ConnectionDraining"])
        change = self.elb.modify_load_balancer_attributes
        for _ in range(2):
            change(**self.modify(CrossZoneLoadBalancing={"Enabled": True},
                                 ConnectionDraining={"Enabled": True, "Timeout": 20},
                                 ConnectionSettings={"IdleTimeout": 90}))
        found = self.attributes()
        self.assertEqual(extra, found["AdditionalAttributes"])
        self.assertEqual({"Enabled": True, "Timeout": 20}, found["ConnectionDraining"])
        self.assertEqual({"Enabled": True}, found["CrossZoneLoadBalancing"])
        self.assertEqual({"IdleTimeout": 90}, found["ConnectionSettings"])
        self.refused("InvalidConfigurationRequest", change,
                     **self.modify(AccessLog={"Enabled": True}))
        change(**self.modify(AccessLog={"Enabled": True, "S3BucketName": "b", "EmitInterval": 5}))
        self.assertEqual("b", self.attributes()["AccessLog"]["S3BucketName"])

    def test_classic_registration(self):
        self.make()
        names = self.launch(2)
        every = {"LoadBalancerName": "one", "Instances": [{"InstanceId": name} for name in names]}
        for _ in range(2):
            answer = self.elb.register_instances_with_load_balancer(**every)
        self.assertEqual(every["Instances"], answer["Instances"])
        self.refused("InvalidInstance", self.elb.register_instances_with_load_balancer,
                     LoadBalancerName="one", Instances=[{"InstanceId": "i-00000000000000000"}])
        self.ec2.terminate_instances(InstanceIds=names[:1])
        self.assertEqual(every["Instances"][1:], self.described()["Instances"])
        answer = self.elb.deregister_instances_from_load_balancer(**every)
        self.assertEqual([], answer["Instances"])

    def test_classic_subnets(self):
        self.make()
        self.assertEqual(["us-east-1a"], self.described()["AvailabilityZones"])
        attach = self.elb.attach_load_balancer_to_subnets
        self.refused("InvalidConfigurationRequest", attach, LoadBalancerName="one",
                     Subnets=[self.world["private_a"]])
        self.refused("SubnetNotFound", attach, LoadBalancerName="one", Subnets=["subnet-00000000"])
        attach(LoadBalancerName="one", Subnets=[self.world["public_b"]])
        self.assertEqual(["us-east-1a", "us-east-1b"], self.described()["AvailabilityZones"])
        detach = self.elb.detach_load_balancer_from_subnets
        detach(LoadBalancerName="one", Subnets=[self.world["public_a"]])
        self.assertEqual([self.world["public_b"]], self.described()["Subnets"])
        self.refused("InvalidConfigurationRequest", detach, LoadBalancerName="one",
                     Subnets=[self.world["public_b"]])

    def test_classic_deletion(self):
        group = self.group()
        self.make(SecurityGroups=[group])
        self.settings(lingering_s=60)
        self.elb.delete_load_balancer(LoadBalancerName="one")
        self.refused("DependencyViolation", self.ec2.delete_security_group, GroupId=group)
        self.refused("ValidationError", self.elb.describe_load_balancers, PageSize=401)
