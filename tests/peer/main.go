// The Go library that ccm-rs stands in for, with a provider for the simulated cloud: what a vendor
// would have written in Go. Measurements put it beside ours, and a test swaps the two for one
// another on one cloud. It is no part of what is shipped.
//
// Everything outside the files of the provider is the library's own: flags, election, controllers,
// metrics. This file is the library's sample/basic_main.go without the renamed clients.
package main

import (
	"os"

	"k8s.io/apimachinery/pkg/util/wait"
	cloudprovider "k8s.io/cloud-provider"
	"k8s.io/cloud-provider/app"
	"k8s.io/cloud-provider/app/config"
	"k8s.io/cloud-provider/names"
	"k8s.io/cloud-provider/options"
	"k8s.io/component-base/cli"
	cliflag "k8s.io/component-base/cli/flag"
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // the client's metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // the version's metric
	"k8s.io/klog/v2"
)

func main() {
	ccmOptions, err := options.NewCloudControllerManagerOptions()
	if err != nil {
		klog.Fatalf("unable to initialize command options: %v", err)
	}
	command := app.NewCloudControllerManagerCommand(
		ccmOptions, initialize, app.DefaultInitFuncConstructors, names.CCMControllerAliases(),
		cliflag.NamedFlagSets{}, wait.NeverStop,
	)
	os.Exit(cli.Run(command))
}

func initialize(config *config.CompletedConfig) cloudprovider.Interface {
	named := config.ComponentConfig.KubeCloudShared.CloudProvider
	cloud, err := cloudprovider.InitCloudProvider(named.Name, named.CloudConfigFile)
	if err != nil {
		klog.Fatalf("Cloud provider could not be initialized: %v", err)
	}
	if cloud == nil {
		klog.Fatalf("Cloud provider is nil")
	}
	if !cloud.HasClusterID() && !config.ComponentConfig.KubeCloudShared.AllowUntaggedCloud {
		klog.Fatalf("no clusterID in the configuration: give one, or --allow-untagged-cloud")
	}
	return cloud
}
