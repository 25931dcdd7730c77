//! A fresh chain with the L1 contracts on it.

use std::time::Duration;

use alloy_primitives::{Address, Bytes, U256, address, keccak256};
use alloy_sol_types::{SolCall, SolValue};
use chain::abi::{Erc20, LockingInfo, LockingPool};
use chain::pool::{Pool, PoolOptions};
use chain::rpc::{BlockId, Receipt, call};
use domain::amount::Metis;
use domain::pubkey::PublicKey;
use serde_json::{Value, json};
use testkit::Anvil;
use testkit::anvil::Options;

pub const CHAIN: u64 = 31_337;
pub const L2_CHAIN: u64 = 59_902;
pub const L2_METIS: Address = address!("DeadDeAddeAddEAddeadDEaDDEAdDeaDDeAD0000");
pub const WEI_PER_L2_GAS: u64 = 1_000_000_000;
pub const RPB: u64 = 761_000_000_000_000;
/// More than all of the tests' transactions use.
const GAS: &str = "0x1000000";
const MINED: Duration = Duration::from_secs(10);

alloy_sol_types::sol! {
    function setAddress(string name, address to) external;
    function mint(address to, uint256 amount) external;
}

pub struct World {
    pub anvil: Anvil,
    pub chain: Pool,
    pub deployer: Address,
    pub payer: Address,
    pub mpc: Address,
    pub token: Address,
    pub bridge: Address,
    pub info: Address,
    pub pool: Address,
    pub pool_implementation: Address,
}

/// An address that no one has a key for; anvil lets it send all the same.
pub fn account(name: &str) -> Address {
    Address::from_slice(&keccak256(name)[12..])
}

/// A public key made from K1's of the reference and its negation, which are two different keys.
pub fn node_keys() -> [PublicKey; 2] {
    let k1 = "4d5e02936a222d68b5d423e566828d8c67ca2290cf428254c44c7be458b33dec\
              ec1fe85d900756811366e2d19baeb2fe81b46ce10c1863e00d811e68a4e76c9f";
    let k0 = "2e1a3735f93ddbad4f697dc576e37b159f31f344808bff2a18269b228fc83663\
              cfb66da6462fd258b5ef09d4a532a41ef96d0d589f1e0401317c21534c0239ad";
    [k1, k0].map(|hex| PublicKey::from_hex(hex).expect("a golden vector"))
}

pub async fn anvil(chain_id: u64) -> Anvil {
    let options = Options { chain_id: Some(chain_id), accounts: Some(2), ..Default::default() };
    Anvil::start(options).await.expect("anvil starts")
}

pub async fn pool_of(anvil: &Anvil) -> Pool {
    let url: chain::rpc::EndpointUrl = anvil.url().parse().expect("anvil's URL");
    Pool::connect(CHAIN, vec![url.into()], PoolOptions::default()).await.expect("anvil is reachable")
}

impl World {
    /// Contracts of this variant of the pool.
    pub async fn start(variant: &str) -> Self {
        let anvil = anvil(CHAIN).await;
        anvil.rpc("anvil_autoImpersonateAccount", json!([true])).await.expect("anvil lets anyone send");
        let chain = pool_of(&anvil).await;
        let [deployer, payer, mpc] = ["deployer", "payer", "mpc"].map(account);
        let mut world = Self {
            anvil,
            chain,
            deployer,
            payer,
            mpc,
            token: Address::ZERO,
            bridge: Address::ZERO,
            info: Address::ZERO,
            pool: Address::ZERO,
            pool_implementation: Address::ZERO,
        };
        for account in [deployer, payer, mpc] {
            world.fund(account).await;
        }
        world.deploy_all(variant).await;
        world
    }

    async fn deploy_all(&mut self, variant: &str) {
        let deployer = self.deployer;
        self.token = self.deploy("MetisToken", vec![]).await;
        let registry = self.deploy("Lib_AddressManager", vec![]).await;
        let oracle = self.deploy("MVM_DiscountOracle", U256::from(WEI_PER_L2_GAS).abi_encode()).await;
        let messenger = self.deploy("L1CrossDomainMessenger", vec![]).await;
        let name = "MVM_DiscountOracle".to_owned();
        self.does(deployer, registry, &setAddressCall { name, to: oracle }).await;
        let l2_chain = U256::from(L2_CHAIN);
        self.bridge =
            self.deploy("L1StandardBridge", (messenger, registry, l2_chain).abi_encode_params()).await;
        let admin = self.deploy("ProxyAdmin", vec![]).await;
        let info = LockingInfo::initializeCall {
            bridge: self.bridge,
            l1Token: self.token,
            l2Token: L2_METIS,
            l2ChainId: l2_chain,
        };
        (self.info, _) = self.deploy_proxy(admin, "LockingInfo", &info).await;
        let pool = LockingPool::initializeCall { escrow: self.info };
        (self.pool, self.pool_implementation) = self.deploy_proxy(admin, variant, &pool).await;
        let (info, pool, token) = (self.info, self.pool, self.token);
        self.does(deployer, info, &LockingInfo::initManagerCall { manager: pool }).await;
        self.does(deployer, info, &LockingInfo::setRewardPayerCall { payer: self.payer }).await;
        self.does(deployer, token, &mintCall { to: self.payer, amount: Metis::whole(1_000_000).0 }).await;
        self.does(self.payer, token, &Erc20::approveCall { spender: info, value: U256::MAX }).await;
        self.does(deployer, pool, &LockingPool::updateMpcCall { newMpc: self.mpc }).await;
    }

    /// An owner with METIS and ETH, whitelisted.
    pub async fn owner(&self, name: &str) -> Address {
        let owner = account(name);
        self.fund(owner).await;
        self.does(self.deployer, self.pool, &LockingPool::setWhitelistCall { addr: owner, yes: true }).await;
        self.does(self.deployer, self.token, &mintCall { to: owner, amount: Metis::whole(200_000).0 }).await;
        owner
    }

    pub async fn fund(&self, account: Address) {
        let wealth = format!("{:#x}", U256::from(10).pow(U256::from(20)));
        self.anvil.rpc("anvil_setBalance", json!([account, wealth])).await.expect("anvil gives ETH");
    }

    /// Sends a call that must succeed.
    pub async fn does<C: SolCall>(&self, from: Address, to: Address, call: &C) -> Receipt {
        self.sends(from, to, call.abi_encode().into(), U256::ZERO).await
    }

    pub async fn sends(&self, from: Address, to: Address, data: Bytes, value: U256) -> Receipt {
        let transaction = json!({ "from": from, "to": to, "data": data, "value": value, "gas": GAS });
        let receipt = self.send(transaction).await;
        assert!(receipt.succeeded(), "a transaction of the world reverted: {data}");
        receipt
    }

    async fn send(&self, transaction: Value) -> Receipt {
        let hash = self.anvil.rpc("eth_sendTransaction", json!([transaction])).await.expect("anvil takes it");
        let hash = serde_json::from_value(hash).expect("a hash");
        // anvil answers before the block that it mines for the transaction is there.
        let look = || async { self.chain.ask(call::receipt(hash)).await.expect("anvil answers") };
        testkit::wait_for("the transaction is mined", MINED, look).await
    }

    async fn deploy(&self, name: &str, arguments: Vec<u8>) -> Address {
        let path = format!("{}/../../contracts/artifacts/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let artifact: Value =
            serde_json::from_slice(&std::fs::read(path).expect("a committed artifact")).expect("JSON");
        let code: Bytes = serde_json::from_value(artifact["bytecode"].clone()).expect("hex");
        let data = Bytes::from([code.to_vec(), arguments].concat());
        let receipt = self.send(json!({ "from": self.deployer, "data": data, "gas": GAS })).await;
        assert!(receipt.succeeded(), "{name} was not deployed");
        receipt.contract_address.expect("a creation tells its address")
    }

    async fn deploy_proxy<C: SolCall>(&self, admin: Address, name: &str, call: &C) -> (Address, Address) {
        let implementation = self.deploy(name, vec![]).await;
        let arguments = (implementation, admin, Bytes::from(call.abi_encode())).abi_encode_params();
        (self.deploy("TransparentUpgradeableProxy", arguments).await, implementation)
    }

    pub async fn head(&self) -> chain::rpc::Header {
        self.chain.ask(call::header(BlockId::Latest)).await.expect("anvil answers").expect("a head")
    }
}
