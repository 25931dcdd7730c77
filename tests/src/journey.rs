//! The guide's whole journey, from a new key to the final withdrawal, over both public APIs: state, balances and
//! rewards are compared with the contracts after every step, to the wei.

use anyhow::Result;
use dev::announce::{Announce, Audience};
use dev::clients::Clients;
use dev::journey::{Driver, Managed, Prepared, play};
use dev::stack::{Options, Services, World};

async fn travelled<D: Driver + Send>(driver: impl FnOnce(&World) -> Result<D>) -> Result<()> {
    let announce = Announce::to(Audience::Nobody);
    let mut world = World::start(&Options::to_travel(), &announce).await?;
    let services = Services::start(&mut world, &announce).await?;
    let mut driver = driver(&world)?;
    play(&mut driver, world.simulator(), |_| ()).await?;
    services.stop().await?;
    world.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_travels_from_key_to_withdrawal_over_grpc() -> Result<()> {
    travelled(|world| Ok(Managed::new(Clients::of(world.access())?, "alpha"))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_travels_from_key_to_withdrawal_over_json_rpc() -> Result<()> {
    travelled(|world| Prepared::new(world.access(), "alpha")).await
}
