//! The two programs as one thing that can be started, used, hurt and stopped.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use rustix::process::Signal;

use crate::{
    access::{self, Credentials, Retries, ServiceAccountAccess},
    apiserver, audit,
    binaries::Binary,
    certificates::{Certificates, write_private},
    error::{Context, Error},
    etcd,
    grant::{self, Grant},
    instance::{self, Instance},
    ports,
    process::{Identity, Launch, POLL, Process},
    sweep,
};

/// How long anything may take that takes seconds on an idle machine. Two cores that also compile are ten times slower.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// How long a program may take to end by itself. A guess: the API server waits for requests in flight, and a test that
/// still has some does not care for the answers.
const GRACE: Duration = Duration::from_secs(20);

/// Starts of the whole with new ports, if a port is taken between our picking it and the program's binding it.
const ATTEMPTS: usize = 5;

/// Namespaces that exist once the API server has got round to it, a moment after it is ready.
const NAMESPACES: [&str; 3] = ["default", "kube-system", "kube-node-lease"];

/// Who the API server is to a kubelet.
pub const KUBELET_CLIENT: &str = "kube-apiserver-kubelet-client";

/// What may differ between control planes.
#[derive(Clone, Debug)]
pub struct Options {
    /// Log the requests of service accounts in `kube-system`, for [`ControlPlane::audit_events`].
    pub audit: bool,
    /// Let etcd answer before the disk has the data. Right for tests, wrong for measurements.
    pub unsafe_no_fsync: bool,
    /// The size in bytes at which etcd takes no more writes; etcd's own default is 2 GiB.
    pub etcd_quota_backend_bytes: Option<u64>,
    /// Let the API server reach kubelets, for `kubectl logs` and `exec`: as [`KUBELET_CLIENT`], who has no rights of
    /// his own, and only if a certificate of ours is shown at the address that the Node names.
    pub reaches_kubelets: bool,
    /// Flags for etcd after ours; of a flag given twice the later one counts.
    pub etcd_args: Vec<String>,
    /// Flags for the API server after ours; of a flag given twice the later one counts.
    pub apiserver_args: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            audit: false,
            unsafe_no_fsync: true,
            etcd_quota_backend_bytes: None,
            reaches_kubelets: false,
            etcd_args: Vec::new(),
            apiserver_args: Vec::new(),
        }
    }
}

/// A running etcd and a kube-apiserver on loopback, which go when this value goes.
///
/// Nobody but the API server's owner reaches etcd, and nobody without a certificate or a token of it gets anything from the
/// API server: other users of the machine have no way in.
///
/// [`stop`](Self::stop) ends them in order; dropping the value kills them, which also happens when a test panics. If
/// our process is killed, a guardian does it within a second.
pub struct ControlPlane {
    // Dropped in this order: a directory can only be removed when nobody writes into it.
    apiserver: Option<Process>,
    etcd: Process,
    instance: Instance,
    apiserver_binary: PathBuf,
    apiserver_args: Vec<String>,
    certificates: Certificates,
    ca_pem: String,
    server_url: String,
    admin_credentials: Credentials,
    admin: Client,
    audit: Option<audit::Marker>,
}

impl fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlPlane")
            .field("server_url", &self.server_url)
            .field("dir", &self.instance.dir())
            .finish_non_exhaustive()
    }
}

impl ControlPlane {
    /// Starts one with the default [`Options`] and waits until it is ready.
    pub async fn start() -> Result<Self, Error> {
        Self::start_with(Options::default()).await
    }

    /// Starts one and waits until it is ready: administrators may do anything, the default roles and namespaces exist.
    ///
    /// Builds the binaries first where they are neither given nor built yet, which takes minutes and is said on standard
    /// error. Sweeps what killed predecessors left.
    pub async fn start_with(options: Options) -> Result<Self, Error> {
        // Fails if there is one already, which is as good.
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let etcd = Binary::Etcd.locate().await?;
        let apiserver = Binary::KubeApiserver.locate().await?;
        sweep::sweep(&instance::state_dir()?).await?;

        let mut attempt = 1;
        loop {
            match Self::launch(&options, &etcd, &apiserver).await {
                Err(err) if err.is_port_taken() && attempt < ATTEMPTS => attempt += 1,
                ended => return ended,
            }
        }
    }

    async fn launch(options: &Options, etcd: &Path, apiserver: &Path) -> Result<Self, Error> {
        let mut instance = Instance::create()?;
        let certificates = Certificates::issue(instance.dir())?;
        let [secure_port] = ports::pick()?;

        let mut etcd = etcd::start(options, etcd, &mut instance)?;
        etcd::wait_until_ready(&mut etcd, instance.dir()).await?;

        let ca_pem = certificates.ca_pem();
        let server_url = format!("https://127.0.0.1:{secure_port}");
        let admin_credentials = certificates.client("admin", "system:masters")?;
        let admin_kubeconfig = access::kubeconfig(&server_url, &ca_pem, &admin_credentials);
        let audit = if options.audit {
            let credentials = certificates.client("audit-marker", audit::MARKER_GROUP)?;
            let kubeconfig = access::kubeconfig(&server_url, &ca_pem, &credentials);
            write_private(instance.dir(), audit::POLICY_FILE, audit::POLICY)?;
            Some(audit::Marker::new(access::client(&kubeconfig, Retries::Yes).await?))
        } else {
            None
        };
        let mut apiserver_args =
            apiserver::args(options, &certificates, instance.dir(), etcd::URL, secure_port);
        if options.reaches_kubelets {
            let client = certificates.client(KUBELET_CLIENT, KUBELET_CLIENT)?;
            apiserver_args.extend(apiserver::kubelet_args(&certificates, instance.dir(), client)?);
        }
        let mut control_plane = Self {
            apiserver: None,
            etcd,
            instance,
            apiserver_binary: apiserver.to_owned(),
            apiserver_args,
            certificates,
            ca_pem,
            server_url,
            admin_credentials,
            admin: access::client(&admin_kubeconfig, Retries::Yes).await?,
            audit,
        };
        control_plane.launch_apiserver().await?;
        Ok(control_plane)
    }

    async fn launch_apiserver(&mut self) -> Result<(), Error> {
        let kubeconfig = self.kubeconfig(&self.admin_credentials);
        let probe = access::client(&kubeconfig, Retries::No).await?;
        let mut process =
            apiserver::start(&self.apiserver_binary, &self.apiserver_args, &mut self.instance)?;
        let ready = self.wait_until_ready(&mut process, &probe).await;
        if let Err(err) = ready {
            let identity = process.identity();
            drop(process);
            self.instance.forget(identity)?;
            return Err(err);
        }
        self.apiserver = Some(process);
        Ok(())
    }

    async fn wait_until_ready(
        &mut self,
        apiserver: &mut Process,
        probe: &Client,
    ) -> Result<(), Error> {
        let namespaces: Api<Namespace> = Api::all(probe.clone());
        let since = Instant::now();
        loop {
            // Both: what answers on the port might be another's, while ours could not bind it.
            self.etcd.expect_running()?;
            apiserver.expect_running()?;
            let last = match apiserver::ready(probe).await {
                Ok(()) => match missing_namespace(&namespaces).await {
                    Ok(None) => return apiserver.expect_running(),
                    Ok(Some(name)) => format!("namespace {name} does not exist yet"),
                    Err(err) => err.to_string(),
                },
                Err(err) => err.to_string(),
            };
            if since.elapsed() > PATIENCE {
                return Err(apiserver.not_ready(PATIENCE, last));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// An error if one of the programs has ended without being asked to.
    pub fn expect_running(&mut self) -> Result<(), Error> {
        self.etcd.expect_running()?;
        self.apiserver.as_mut().map_or(Ok(()), Process::expect_running)
    }

    /// Ends both programs in order, insisting after 20 seconds each, and removes the directory.
    pub async fn stop(mut self) -> Result<(), Error> {
        let apiserver = self.stop_apiserver().await;
        let etcd = self.etcd.stop(GRACE).await;
        // The rest is `Drop`'s, and `Drop` has done its part also where this failed.
        apiserver.and(etcd)
    }

    /// Ends the API server alone, and its watches in order. Its port stays its own, its objects are in etcd.
    pub async fn stop_apiserver(&mut self) -> Result<(), Error> {
        let Some(mut process) = self.apiserver.take() else { return Ok(()) };
        process.stop(GRACE).await?;
        self.instance.forget(process.identity())
    }

    /// Ends the API server without notice: its connections break off, its answers are lost. Else as
    /// [`stop_apiserver`](Self::stop_apiserver).
    pub fn kill_apiserver(&mut self) -> Result<(), Error> {
        let Some(process) = self.apiserver.take() else { return Ok(()) };
        let identity = process.identity();
        drop(process);
        self.instance.forget(identity)
    }

    /// Starts the API server again, on the same port, and waits until it is ready.
    pub async fn start_apiserver(&mut self) -> Result<(), Error> {
        if self.apiserver.is_some() {
            return Ok(());
        }
        let mut attempt = 1;
        loop {
            // A client that keeps dialling a closed port on loopback can be given that very port as its own.
            match self.launch_apiserver().await {
                Err(err) if err.is_port_taken() && attempt < ATTEMPTS => attempt += 1,
                ended => return ended,
            }
        }
    }

    /// Stops etcd in its tracks: the API server waits for it, and is not ready.
    pub fn pause_etcd(&mut self) -> Result<(), Error> {
        self.etcd.signal(Signal::STOP)
    }

    /// Lets etcd go on.
    pub fn resume_etcd(&mut self) -> Result<(), Error> {
        self.etcd.signal(Signal::CONT)
    }

    /// A client that may do anything, as `system:masters`.
    ///
    /// It lives as long as the runtime in which this control plane was started; [`client`](Self::client) makes one for
    /// another runtime.
    pub fn admin_client(&self) -> Client {
        self.admin.clone()
    }

    /// The certificate of [`admin_client`](Self::admin_client).
    pub fn admin_credentials(&self) -> &Credentials {
        &self.admin_credentials
    }

    /// A certificate with which a client is `user` in `group`; without any rights, unless they are granted.
    pub fn certificate(&self, user: &str, group: &str) -> Result<Credentials, Error> {
        self.certificates.client(user, group)
    }

    /// As [`certificate`](Self::certificate), good until `ends`.
    pub fn certificate_until(
        &self,
        user: &str,
        group: &str,
        ends: SystemTime,
    ) -> Result<Credentials, Error> {
        self.certificates.client_until(user, group, ends)
    }

    /// A certificate of a front proxy; the API server believes that of `front-proxy-client`.
    pub fn front_proxy_certificate(&self, name: &str) -> Result<Credentials, Error> {
        self.certificates.front_proxy(name)
    }

    /// A certificate with which a server is at these addresses, which are names or IP addresses.
    pub fn server_certificate(
        &self,
        name: &str,
        addresses: &[String],
    ) -> Result<Credentials, Error> {
        self.certificates.server(name, addresses)
    }

    /// Starts a program that belongs to this control plane: its log is beside the others', `<name>.log`, and it ends with
    /// the control plane's programs, however we end. It gets no environment. To be dropped before this value.
    pub fn start_beside(
        &mut self,
        name: &'static str,
        program: &Path,
        args: &[String],
    ) -> Result<Process, Error> {
        Process::start(&Launch { name, program, args }, &mut self.instance)
    }

    /// Takes a process in that one of ours has started, so that whoever takes all of it away waits for its end.
    pub fn adopt(&mut self, pid: u32) -> Result<Identity, Error> {
        let found = Identity::of(pid).and_then(|identity| Some((identity, identity.program()?)));
        let (identity, program) =
            found.ok_or_else(|| Error::Refused(format!("process {pid} does not run")))?;
        self.instance.record(identity, &program)?;
        Ok(identity)
    }

    /// Makes a control group in every hierarchy and gives its path below each. It and what is in it go with this value.
    pub fn make_cgroups(&mut self) -> Result<String, Error> {
        self.instance.make_cgroups()
    }

    /// A client that is whoever the credentials say.
    pub async fn client(&self, credentials: &Credentials) -> Result<Client, Error> {
        access::client(&self.kubeconfig(credentials), Retries::Yes).await
    }

    /// The text of a kubeconfig that needs no other file.
    pub fn kubeconfig(&self, credentials: &Credentials) -> String {
        access::kubeconfig(&self.server_url, &self.ca_pem, credentials)
    }

    /// Writes `<name>.kubeconfig` into the instance's directory, readable for its owner alone.
    pub fn write_kubeconfig(
        &self,
        name: &str,
        credentials: &Credentials,
    ) -> Result<PathBuf, Error> {
        if name.is_empty() || name.starts_with('.') || name.contains('/') {
            return Err(Error::Refused(format!("{name:?} is no name for a file")));
        }
        let text = self.kubeconfig(credentials);
        write_private(self.dir(), &format!("{name}.kubeconfig"), &text)
    }

    /// Makes a service account with these rights and no others, and a token for it that is good for a year.
    ///
    /// Creates the namespaces and roles that do not exist and returns when the rights are in force. May be repeated.
    pub async fn service_account(
        &self,
        namespace: &str,
        name: &str,
        grants: &[Grant],
    ) -> Result<ServiceAccountAccess, Error> {
        let token = grant::service_account(&self.admin, namespace, name, grants).await?;
        let credentials = Credentials::Token(token);
        let kubeconfig = self.write_kubeconfig(&format!("{namespace}-{name}"), &credentials)?;
        Ok(ServiceAccountAccess { user: grant::user(namespace, name), credentials, kubeconfig })
    }

    /// The instance's directory: logs, certificates, kubeconfigs, etcd's data. Only its owner can look into it.
    pub fn dir(&self) -> &Path {
        self.instance.dir()
    }

    /// `https://127.0.0.1:<port>`, the same over restarts.
    pub fn server_url(&self) -> &str {
        &self.server_url
    }

    /// The certificate of the authority that signed the server's.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The process ID of etcd.
    pub fn etcd_pid(&self) -> u32 {
        self.etcd.pid()
    }

    /// The process ID of the API server. `None` while it is stopped.
    pub fn apiserver_pid(&self) -> Option<u32> {
        self.apiserver.as_ref().map(Process::pid)
    }

    /// The process ID of the guardian.
    pub fn guardian_pid(&self) -> u32 {
        self.instance.guardian_pid()
    }

    /// The file with the audit events; it exists if they were [asked for](Options::audit).
    pub fn audit_log(&self) -> PathBuf {
        self.dir().join(audit::LOG_FILE)
    }

    /// The audit events so far.
    ///
    /// Every request that was answered before this call is in it. A watch that is still open is not: it is written when
    /// it ends, apart from the event of stage `ResponseStarted` when it began.
    pub async fn audit_events(&self) -> Result<Vec<audit::Event>, Error> {
        let Some(marker) = &self.audit else {
            return Err(Error::Refused("audit was not asked for in the options".to_owned()));
        };
        marker.events(&self.audit_log()).await
    }
}

async fn missing_namespace(api: &Api<Namespace>) -> Result<Option<&'static str>, Error> {
    for name in NAMESPACES {
        let found = api.get_opt(name).await.context(|| format!("looking for namespace {name}"))?;
        if found.is_none() {
            return Ok(Some(name));
        }
    }
    Ok(None)
}
