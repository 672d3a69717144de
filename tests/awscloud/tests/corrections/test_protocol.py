from support import Case, URL
import urllib.error
import urllib.parse
import urllib.request


class Protocol(Case):
    def ask(self, **params):
        scope = "AWS4-HMAC-SHA256 Credential=TEST/20260101/us-east-1/ec2/aws4_request"
        data = urllib.parse.urlencode({"Version": "2016-11-15", **params}).encode()
        request = urllib.request.Request(URL, data=data, headers={"Authorization": scope})
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def test_unknown_action(self):
        status, text = self.ask(Action="MakeCoffee")
        self.assertEqual(400, status)
        self.assertIn("<Code>InvalidAction</Code>", text)

    def test_not_implemented(self):
        self.launch()
        text = self.refused("NotImplementedByFake", self.ec2.describe_instances,
                            Filters=[{"Name": "placement-group-name", "Values": ["x"]}])
        self.assertIn("placement-group-name", text)
