package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	cloudprovider "k8s.io/cloud-provider"
	servicehelpers "k8s.io/cloud-provider/service/helpers"
)

// Tags that say whose a piece is.
const (
	clusterTag = "cluster"
	ownerTag   = "owner"
)

// The annotations of ours, all but two: a Go provider has no client to write
// sim.ccm.rs/load-balancer-id with, so it stays as it is; and nonsense in
// sim.ccm.rs/idle-timeout-seconds is an error here, where ours has the default and a note.
const (
	annotationInternal      = "sim.ccm.rs/internal"
	annotationAddresses     = "sim.ccm.rs/addresses"
	annotationIdleTimeout   = "sim.ccm.rs/idle-timeout-seconds"
	annotationProxyProtocol = "sim.ccm.rs/proxy-protocol"
	annotationCheckProtocol = "sim.ccm.rs/health-check-protocol"
	annotationCheckPath     = "sim.ccm.rs/health-check-path"
	annotationCheckPort     = "sim.ccm.rs/health-check-port"
	annotationSources       = "sim.ccm.rs/additional-source-ranges"
	annotationZones         = "sim.ccm.rs/target-zones"
	annotationExtraTags     = "sim.ccm.rs/extra-tags"
)

// kubeProxyHealth is where kube-proxy says whether the node is well.
const kubeProxyHealth = 10256

// wish is a Service in the cloud's words.
type wish struct {
	uid       string
	name      string // of the load balancer
	pieceName string // of all others
	internal  bool
	addresses []addressWish // in the Service's order of families
	ports     []portWish
	sources   []netip.Prefix
	ipMode    v1.LoadBalancerIPMode
	zones     []string // empty for all
	tags      map[string]string
}

type addressWish struct {
	family    string
	requested netip.Addr // not valid for any
}

type groupKey struct {
	protocol string
	nodePort int32
}

type portWish struct {
	protocol string
	port     int32
	group    groupKey
	settings listenerSettings
	check    healthCheck
}

// marks are the tags of all pieces of a Service.
func (c *cloud) marks(clusterName string, service *v1.Service) map[string]string {
	return map[string]string{clusterTag: c.cluster(clusterName), ownerTag: string(service.UID)}
}

func pieceName(service *v1.Service) string {
	return service.Namespace + "/" + service.Name
}

// read says what a Service asks for, or what is wrong with it.
func (c *cloud) read(clusterName string, service *v1.Service) (*wish, error) {
	said := service.Annotations
	w := &wish{
		uid:       string(service.UID),
		name:      cloudprovider.DefaultLoadBalancerName(service),
		pieceName: pieceName(service),
		ipMode:    v1.LoadBalancerIPModeVIP,
		tags:      c.marks(clusterName, service),
	}
	var err error
	if w.internal, err = boolean(said, annotationInternal); err != nil {
		return nil, err
	}
	if err := w.readAddresses(service); err != nil {
		return nil, err
	}
	if err := w.readPorts(service); err != nil {
		return nil, err
	}
	if err := w.readSources(service); err != nil {
		return nil, err
	}
	w.zones = words(said[annotationZones])
	for _, pair := range words(said[annotationExtraTags]) {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" || key == clusterTag || key == ownerTag {
			return nil, fmt.Errorf("annotation %s: %q is no tag for others to set", annotationExtraTags, pair)
		}
		w.tags[strings.TrimSpace(key)] = strings.TrimSpace(value)
	}
	return w, nil
}

func (w *wish) readAddresses(service *v1.Service) error {
	for _, family := range service.Spec.IPFamilies {
		w.addresses = append(w.addresses, addressWish{family: strings.ToLower(string(family))})
	}
	if len(w.addresses) == 0 {
		w.addresses = []addressWish{{family: "ipv4"}}
	}
	requested := words(service.Annotations[annotationAddresses])
	if service.Spec.LoadBalancerIP != "" {
		requested = append(requested, service.Spec.LoadBalancerIP)
	}
	for _, text := range requested {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("requested address %q: %w", text, err)
		}
		family := familyOf(address)
		at := slices.IndexFunc(w.addresses, func(one addressWish) bool { return one.family == family })
		if at < 0 || w.addresses[at].requested.IsValid() && w.addresses[at].requested != address {
			return fmt.Errorf("requested address %s: at most one of each family of the Service", address)
		}
		w.addresses[at].requested = address
	}
	return nil
}

func familyOf(address netip.Addr) string {
	if address.Is6() {
		return "ipv6"
	}
	return "ipv4"
}

func (w *wish) readPorts(service *v1.Service) error {
	said := service.Annotations
	proxy, err := boolean(said, annotationProxyProtocol)
	if err != nil {
		return err
	}
	if proxy {
		w.ipMode = v1.LoadBalancerIPModeProxy
	}
	idle := 60
	if text, ok := said[annotationIdleTimeout]; ok {
		if idle, err = strconv.Atoi(text); err != nil || idle < 1 || idle > 4000 {
			return fmt.Errorf("annotation %s: %q is not 1 to 4000", annotationIdleTimeout, text)
		}
	}
	var affinity *int32
	if service.Spec.SessionAffinity == v1.ServiceAffinityClientIP {
		seconds := v1.DefaultClientIPServiceAffinitySeconds
		if config := service.Spec.SessionAffinityConfig; config != nil && config.ClientIP != nil && config.ClientIP.TimeoutSeconds != nil {
			seconds = *config.ClientIP.TimeoutSeconds
		}
		affinity = &seconds
	}
	check, err := readCheck(service)
	if err != nil {
		return err
	}
	for _, port := range service.Spec.Ports {
		protocol := strings.ToLower(string(port.Protocol))
		if protocol != "tcp" && protocol != "udp" {
			return fmt.Errorf("port %d: this cloud forwards TCP and UDP, not %s", port.Port, port.Protocol)
		}
		if port.NodePort == 0 {
			return fmt.Errorf("port %d has no node port", port.Port)
		}
		one := portWish{
			protocol: protocol,
			port:     port.Port,
			group:    groupKey{protocol, port.NodePort},
			settings: listenerSettings{
				ProxyProtocol:   proxy && protocol == "tcp",
				IdleTimeoutS:    int32(idle),
				ClientAffinityS: affinity,
			},
			check: check,
		}
		if check.Protocol == "tcp" {
			one.check.Port = port.NodePort
		}
		w.ports = append(w.ports, one)
	}
	return nil
}

func readCheck(service *v1.Service) (healthCheck, error) {
	said := service.Annotations
	check := healthCheck{Protocol: "http", Port: kubeProxyHealth, Path: "/healthz"}
	if text, ok := said[annotationCheckProtocol]; ok {
		if text != "http" && text != "https" && text != "tcp" {
			return check, fmt.Errorf("annotation %s: %q is not http, https or tcp", annotationCheckProtocol, text)
		}
		check.Protocol = text
	}
	if check.Protocol == "tcp" {
		return healthCheck{Protocol: "tcp"}, nil
	}
	if _, port := servicehelpers.GetServiceHealthCheckPathPort(service); port != 0 {
		check.Port = port
	}
	if text, ok := said[annotationCheckPort]; ok {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil || port == 0 {
			return check, fmt.Errorf("annotation %s: %q is no port", annotationCheckPort, text)
		}
		check.Port = int32(port)
	}
	if text, ok := said[annotationCheckPath]; ok {
		check.Path = text
	}
	return check, nil
}

func (w *wish) readSources(service *v1.Service) error {
	said := service.Spec.LoadBalancerSourceRanges
	if len(said) == 0 {
		said = words(service.Annotations[v1.AnnotationLoadBalancerSourceRangesKey])
	}
	if len(said) == 0 {
		// Everybody, of each family: the library's helper knows of IPv4 alone.
		for _, one := range w.addresses {
			everybody := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
			if one.family == "ipv6" {
				everybody = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
			}
			w.sources = append(w.sources, everybody)
		}
		return nil
	}
	for _, text := range append(slices.Clone(said), words(service.Annotations[annotationSources])...) {
		source, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			return fmt.Errorf("source range %q: %w", text, err)
		}
		if source = source.Masked(); !slices.Contains(w.sources, source) {
			w.sources = append(w.sources, source)
		}
	}
	return nil
}

// rules let the Service's clients through: one for each port and source.
func (w *wish) rules() []ruleSpec {
	var all []ruleSpec
	for _, port := range w.ports {
		for _, source := range w.sources {
			all = append(all, ruleSpec{
				Owner:     w.uid,
				Source:    source,
				Protocol:  port.protocol,
				Port:      port.port,
				NodePorts: []int32{port.group.nodePort},
			})
		}
	}
	return all
}

// targets are the instances of the nodes that take traffic, sorted. A node without an instance of
// ours is skipped.
func (w *wish) targets(nodes []*v1.Node) []string {
	var all []string
	for _, node := range nodes {
		if len(w.zones) > 0 && !slices.Contains(w.zones, node.Labels[v1.LabelTopologyZone]) {
			continue
		}
		if id := instanceID(node.Spec.ProviderID); id != "" {
			all = append(all, id)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// words are separated by commas; blanks around them are ignored.
func words(text string) []string {
	var all []string
	for _, one := range strings.Split(text, ",") {
		if one = strings.TrimSpace(one); one != "" {
			all = append(all, one)
		}
	}
	return all
}

func boolean(said map[string]string, key string) (bool, error) {
	text, ok := said[key]
	if !ok {
		return false, nil
	}
	value, err := strconv.ParseBool(text)
	if err != nil {
		return false, fmt.Errorf("annotation %s: %q is neither true nor false", key, text)
	}
	return value, nil
}
