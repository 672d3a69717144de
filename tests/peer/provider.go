package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	cloudprovider "k8s.io/cloud-provider"
	"sigs.k8s.io/yaml"
)

// providerName is the scheme of provider IDs, and what --cloud-provider says.
const providerName = "sim"

func init() {
	cloudprovider.RegisterCloudProvider(providerName, func(config io.Reader) (cloudprovider.Interface, error) {
		return newCloud(config)
	})
}

// settings are the keys of the file behind --cloud-config: the same as ours.
type settings struct {
	Endpoint   string `json:"endpoint"`
	Token      string `json:"token"`
	TokenFile  string `json:"tokenFile"`
	CAFile     string `json:"caFile"`
	ClusterID  string `json:"clusterID"`
	BatchLimit int    `json:"batchLimit"`
	RouteTable string `json:"routeTable"`
	// These are read so that one file does for both. Nothing is made of them: few Go providers know how
	// far their cloud's reads lag behind, and the library has no controller of volumes.
	LagSeconds        int    `json:"lagSeconds"`
	LegacyVolumeField string `json:"legacyVolumeField"`
}

// cloud is the simulated cloud, as the library sees it.
type cloud struct {
	api        *client
	clusterID  string
	batchLimit int
	routeTable string
	nodes      corelisters.NodeLister
	firewall   firewallLock
}

func newCloud(config io.Reader) (*cloud, error) {
	if config == nil {
		return nil, errors.New("--cloud-config is needed: a file with endpoint and token or tokenFile")
	}
	text, err := io.ReadAll(config)
	if err != nil {
		return nil, err
	}
	said := settings{BatchLimit: 100, RouteTable: "main"}
	if err := yaml.UnmarshalStrict(text, &said); err != nil {
		return nil, fmt.Errorf("cloud config: %w", err)
	}
	// Relative paths start at the folder of the configuration.
	near := func(path string) string {
		if file, ok := config.(*os.File); ok && !filepath.IsAbs(path) {
			return filepath.Join(filepath.Dir(file.Name()), path)
		}
		return path
	}
	if said.Token == "" {
		token, err := os.ReadFile(near(said.TokenFile))
		if err != nil {
			return nil, fmt.Errorf("cloud config: %w", err)
		}
		said.Token = string(bytes.TrimSpace(token))
	}
	if said.Endpoint == "" || said.Token == "" || said.BatchLimit < 1 {
		return nil, errors.New("cloud config: endpoint, a token and a batchLimit above 0 are needed")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	// All calls go to one host, of whose connections the default would keep two.
	transport.MaxIdleConns = 256
	transport.MaxIdleConnsPerHost = 256
	if said.CAFile != "" {
		pem, err := os.ReadFile(near(said.CAFile))
		if err != nil {
			return nil, fmt.Errorf("cloud config: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, errors.New("cloud config: caFile holds no certificates in PEM form")
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	api := &client{
		http:     &http.Client{Transport: transport, Timeout: time.Minute},
		endpoint: said.Endpoint,
		token:    said.Token,
	}
	return &cloud{
		api:        api,
		clusterID:  said.ClusterID,
		batchLimit: said.BatchLimit,
		routeTable: said.RouteTable,
	}, nil
}

// cluster is the mark of this cluster's pieces: its ID, or the name that the library passes in.
func (c *cloud) cluster(name string) string {
	if c.clusterID != "" {
		return c.clusterID
	}
	return name
}

func (c *cloud) Initialize(cloudprovider.ControllerClientBuilder, <-chan struct{}) {}

// SetInformers tells routes the nodes behind instances, which costs the cloud nothing.
func (c *cloud) SetInformers(factory informers.SharedInformerFactory) {
	c.nodes = factory.Core().V1().Nodes().Lister()
}

func (c *cloud) ProviderName() string { return providerName }

func (c *cloud) HasClusterID() bool { return c.clusterID != "" }

func (c *cloud) InstancesV2() (cloudprovider.InstancesV2, bool) { return c, true }

func (c *cloud) LoadBalancer() (cloudprovider.LoadBalancer, bool) { return c, true }

func (c *cloud) Routes() (cloudprovider.Routes, bool) { return c, true }

func (c *cloud) Instances() (cloudprovider.Instances, bool) { return nil, false }

func (c *cloud) Zones() (cloudprovider.Zones, bool) { return nil, false }

func (c *cloud) Clusters() (cloudprovider.Clusters, bool) { return nil, false }
