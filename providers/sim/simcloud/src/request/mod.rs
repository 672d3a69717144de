//! A request of the cloud's API and its answer, without HTTP: the cloud is a function of its
//! state, the request and the time.

mod about;
mod answer;
mod pieces;
mod query;
mod spoil;
#[cfg(test)]
mod tests;

use crate::api::{
    BatchCreateInstances, CreateInstance, DescribeInstances, InstanceId, ListInstances,
    UpdateInstance,
};
use crate::state::{Cloud, Cx, PageAsk, Refusal};

pub(crate) use answer::{Answer, List, Shown};
pub(crate) use pieces::{NewOne, PieceRequest, PieceUpdate};
pub(crate) use query::{
    parse_deletion, parse_instances, parse_pieces, parse_rules, parse_tags, parse_targets,
};
pub(crate) use spoil::spoil;

/// A call that made sense so far.
#[derive(Debug)]
pub(crate) enum Request {
    Describe(DescribeInstances),
    List(ListInstances),
    Get(InstanceId),
    Create(Box<CreateInstance>),
    BatchCreate(BatchCreateInstances),
    Update(InstanceId, Box<UpdateInstance>),
    Start(InstanceId),
    Stop(InstanceId),
    Replace(InstanceId),
    Terminate(InstanceId),
    Piece(Box<PieceRequest>),
}

/// Does what is asked.
pub(crate) fn serve(cloud: &mut Cloud, request: Request, cx: &Cx<'_>) -> Result<Answer, Refusal> {
    let moment = cx.moment;
    cloud.sweep(moment);
    let fleet = &mut cloud.fleet;
    let one = |instance| Answer::One(Shown::Instance(instance));
    match request {
        Request::Describe(ask) => {
            let (asked, limit) = (ask.ids.len() + ask.names.len(), cx.settings.batch_limit);
            if asked > limit {
                return Err(Refusal::BatchTooLarge { asked, limit });
            }
            Ok(Answer::List(List::of_instances(fleet.describe(moment, &ask), None)))
        }
        Request::List(ask) => {
            let token = ask.page_token.as_deref();
            let (after, size) = query::page(token, ask.page_size, cx.settings.page_limit)?;
            let page = fleet.list(moment, &PageAsk { after, size, tags: &ask.tags });
            Ok(Answer::List(List::of_instances(page.instances, page.next)))
        }
        Request::Get(id) => fleet.get(moment, &id).map(one),
        Request::Create(wanted) => {
            let mut made = fleet.create(moment, vec![*wanted])?;
            let made = made.pop().expect("one asked for is one made");
            Ok(Answer::Made(Shown::Instance(made)))
        }
        Request::BatchCreate(batch) => {
            let made = fleet.create(moment, batch.instances)?;
            Ok(Answer::List(List::of_instances(made, None)))
        }
        Request::Update(id, update) => fleet.update(moment, &id, &update).map(one),
        Request::Start(id) => fleet.start(moment, &id).map(one),
        Request::Stop(id) => fleet.stop(moment, &id).map(one),
        Request::Replace(id) => fleet.replace(moment, &id).map(one),
        Request::Terminate(id) => fleet.terminate(moment, &id).map(one),
        Request::Piece(request) => pieces::serve(cloud, *request, cx),
    }
}
