"""Take the former versions off an endpoint: their machines are paid for as long as they stand there."""

from kfp import dsl
from kfp.dsl import Artifact, Input

from steps.environment import BASE_IMAGE, pinned
from steps.shipping import ships


@ships("steps.vertex_api")
@dsl.component(base_image=BASE_IMAGE, packages_to_install=pinned("google-auth", "requests"))
def undeploy_former(api: str, endpoint: Input[Artifact], model: Input[Artifact]) -> int:
    """Undeploy the versions of a model that an endpoint sends nothing to any more.

    What has traffic, and what is another model's, is left alone.

    Args:
        api: Address of Vertex AI in the region.
        endpoint: The endpoint, with its resourceName in the metadata.
        model: The version that was deployed, with its resourceName in the metadata.

    Returns:
        How many versions were undeployed, at least 0.
    """
    from steps.vertex_api import VertexApi

    service = VertexApi(api)
    name, number = endpoint.metadata["resourceName"], model.metadata["resourceName"].rpartition("/")[2].split("@")[0]
    found = service.call("GET", name)
    traffic = found.get("trafficSplit", {})
    former = [
        deployed["id"]
        for deployed in found.get("deployedModels", ())
        if not traffic.get(deployed["id"]) and deployed["model"].rpartition("/")[2].split("@")[0] == number
    ]
    for deployed_id in former:
        service.end_of(service.call("POST", f"{name}:undeployModel", json={"deployedModelId": deployed_id}))
        print(f"undeployed {deployed_id}")
    return len(former)
