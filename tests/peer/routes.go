package main

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	cloudprovider "k8s.io/cloud-provider"
)

type route struct {
	ID          string            `json:"id,omitempty"`
	Name        string            `json:"name"`
	Table       string            `json:"table"`
	Destination string            `json:"destination"`
	Target      string            `json:"target"`
	Tags        map[string]string `json:"tags"`
	State       string            `json:"state,omitempty"`
	Blackhole   bool              `json:"blackhole,omitempty"`
	ClientToken string            `json:"client_token,omitempty"`
}

// ListRoutes lists this cluster's routes. The Name of each is the cloud's ID, by which it is
// deleted.
func (c *cloud) ListRoutes(ctx context.Context, clusterName string) ([]*cloudprovider.Route, error) {
	query := tagged(map[string]string{clusterTag: c.cluster(clusterName)})
	query.Set("table", c.routeTable)
	found, err := list[route](ctx, c.api, "/v1/routes", query)
	if err != nil {
		return nil, err
	}
	nodes, err := c.nodes.List(labels.Everything())
	if err != nil {
		return nil, err
	}
	names := make(map[string]types.NodeName, len(nodes))
	for _, node := range nodes {
		names[instanceID(node.Spec.ProviderID)] = types.NodeName(node.Name)
	}
	var all []*cloudprovider.Route
	for _, one := range found {
		if one.State == stateDeleting {
			continue
		}
		all = append(all, &cloudprovider.Route{
			Name:            one.ID,
			TargetNode:      names[one.Target],
			DestinationCIDR: one.Destination,
			Blackhole:       one.Blackhole,
		})
	}
	return all, nil
}

// CreateRoute makes a route to a node. The hint is the node's UID.
func (c *cloud) CreateRoute(ctx context.Context, clusterName string, nameHint string, asked *cloudprovider.Route) error {
	node, err := c.nodes.Get(string(asked.TargetNode))
	if err != nil {
		return err
	}
	target := instanceID(node.Spec.ProviderID)
	if target == "" {
		return fmt.Errorf("node %s has no provider ID yet", node.Name)
	}
	destination, err := netip.ParsePrefix(asked.DestinationCIDR)
	if err != nil {
		return err
	}
	family := "ipv4"
	if destination.Addr().Is6() {
		family = "ipv6"
	}
	wanted := route{
		Name:        nameHint + "-" + family,
		Table:       c.routeTable,
		Destination: asked.DestinationCIDR,
		Target:      target,
		Tags:        map[string]string{clusterTag: c.cluster(clusterName), ownerTag: nameHint},
	}
	wanted.ClientToken = clientToken(nameHint, "route", wanted)
	return c.api.call(ctx, http.MethodPost, "/v1/routes", wanted, nil)
}

// DeleteRoute deletes a route as it was listed.
func (c *cloud) DeleteRoute(ctx context.Context, _ string, listed *cloudprovider.Route) error {
	err := c.api.call(ctx, http.MethodDelete, "/v1/routes/"+listed.Name, nil, nil)
	if isNotFound(err) {
		return nil
	}
	return err
}
