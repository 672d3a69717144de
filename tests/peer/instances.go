package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	v1 "k8s.io/api/core/v1"
	cloudprovider "k8s.io/cloud-provider"
)

type nic struct {
	PrivateIPv4s   []string `json:"private_ipv4s"`
	PrivateIPv6s   []string `json:"private_ipv6s"`
	PublicIPv4     string   `json:"public_ipv4"`
	PublicIPv6     string   `json:"public_ipv6"`
	PrivateDNSName string   `json:"private_dns_name"`
	PublicDNSName  string   `json:"public_dns_name"`
}

type instance struct {
	ID           string            `json:"id"`
	Name         string            `json:"name"`
	InstanceType string            `json:"instance_type"`
	Region       string            `json:"region"`
	Zone         string            `json:"zone"`
	State        string            `json:"state"`
	SystemUUID   string            `json:"system_uuid"`
	NICs         []nic             `json:"nics"`
	Labels       map[string]string `json:"labels"`
}

type describe struct {
	IDs   []string `json:"ids,omitempty"`
	Names []string `json:"names,omitempty"`
}

// describe asks for several instances at once. Unknown ones are missing from the answer.
func (c *cloud) describe(ctx context.Context, ask describe) ([]instance, error) {
	var answer struct {
		Instances []instance `json:"instances"`
	}
	err := c.api.call(ctx, http.MethodPost, "/v1/instances:describe", ask, &answer)
	return answer.Instances, err
}

// instanceID is the instance in a provider ID, or nothing.
func instanceID(providerID string) string {
	id, ok := strings.CutPrefix(providerID, providerName+"://")
	if !ok || strings.Contains(id, "/") {
		return ""
	}
	return id
}

// instanceOf asks for the instance of one node: the interface has no call about several. It is nil
// where the cloud has none.
func (c *cloud) instanceOf(ctx context.Context, node *v1.Node) (*instance, error) {
	if node.Spec.ProviderID == "" {
		return c.instanceNamed(ctx, node)
	}
	id := instanceID(node.Spec.ProviderID)
	if id == "" {
		return nil, fmt.Errorf("provider ID %q is not %s://<instance ID>", node.Spec.ProviderID, providerName)
	}
	var found instance
	err := c.api.call(ctx, http.MethodGet, "/v1/instances/"+id, nil, &found)
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return ifAlive(&found), nil
}

// instanceNamed finds an instance by the node's name, which need not be unique.
func (c *cloud) instanceNamed(ctx context.Context, node *v1.Node) (*instance, error) {
	all, err := c.describe(ctx, describe{Names: []string{node.Name}})
	if err != nil {
		return nil, err
	}
	var alive []*instance
	for i := range all {
		if one := ifAlive(&all[i]); one != nil {
			alive = append(alive, one)
		}
	}
	if len(alive) > 1 {
		for _, one := range alive {
			if strings.EqualFold(one.SystemUUID, node.Status.NodeInfo.SystemUUID) {
				return one, nil
			}
		}
		return nil, fmt.Errorf("instances %s and %s are both named %q", alive[0].ID, alive[1].ID, node.Name)
	}
	if len(alive) == 0 {
		return nil, nil
	}
	return alive[0], nil
}

func ifAlive(one *instance) *instance {
	if one.State == "terminated" {
		return nil
	}
	return one
}

// InstanceExists says whether the node's instance is there. It is one GET.
func (c *cloud) InstanceExists(ctx context.Context, node *v1.Node) (bool, error) {
	found, err := c.instanceOf(ctx, node)
	return found != nil, err
}

// InstanceShutdown says whether the node's instance is stopped. It is one GET.
func (c *cloud) InstanceShutdown(ctx context.Context, node *v1.Node) (bool, error) {
	found, err := c.instanceOf(ctx, node)
	return found != nil && found.State == "stopped", err
}

// InstanceMetadata says all that a Node is told of its instance. It is one call.
func (c *cloud) InstanceMetadata(ctx context.Context, node *v1.Node) (*cloudprovider.InstanceMetadata, error) {
	found, err := c.instanceOf(ctx, node)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, cloudprovider.InstanceNotFound
	}
	return &cloudprovider.InstanceMetadata{
		ProviderID:       providerName + "://" + found.ID,
		InstanceType:     found.InstanceType,
		NodeAddresses:    addresses(found),
		Zone:             found.Zone,
		Region:           found.Region,
		AdditionalLabels: found.Labels,
	}, nil
}

// addresses are in the order that ours documents: internal before external, numbers before names,
// IPv4 before IPv6.
func addresses(of *instance) []v1.NodeAddress {
	var all []v1.NodeAddress
	add := func(kind v1.NodeAddressType, texts ...string) {
		for _, text := range texts {
			if text != "" {
				all = append(all, v1.NodeAddress{Type: kind, Address: text})
			}
		}
	}
	for _, nic := range of.NICs {
		add(v1.NodeInternalIP, nic.PrivateIPv4s...)
		add(v1.NodeInternalIP, nic.PrivateIPv6s...)
	}
	for _, nic := range of.NICs {
		add(v1.NodeExternalIP, nic.PublicIPv4, nic.PublicIPv6)
	}
	for _, nic := range of.NICs {
		add(v1.NodeInternalDNS, nic.PrivateDNSName)
	}
	for _, nic := range of.NICs {
		add(v1.NodeExternalDNS, nic.PublicDNSName)
	}
	add(v1.NodeHostName, of.Name)
	return all
}
