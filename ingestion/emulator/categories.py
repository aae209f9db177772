"""The categories of videos, which are the same in every region here."""

from typing import Any

from ingestion.emulator.errors import missing, not_found
from ingestion.emulator.queries import Query, ids, listing, parts
from ingestion.emulator.writing import etag

# Id -> title, whether a creator may choose it.
_CATEGORIES = {
    "1": ("Film & Animation", True),
    "2": ("Autos & Vehicles", True),
    "10": ("Music", True),
    "15": ("Pets & Animals", True),
    "17": ("Sports", True),
    "18": ("Short Movies", False),
    "19": ("Travel & Events", True),
    "20": ("Gaming", True),
    "21": ("Videoblogging", False),
    "22": ("People & Blogs", True),
    "23": ("Comedy", True),
    "24": ("Entertainment", True),
    "25": ("News & Politics", True),
    "26": ("Howto & Style", True),
    "27": ("Education", True),
    "28": ("Science & Technology", True),
    "29": ("Nonprofits & Activism", True),
    "30": ("Movies", False),
    "43": ("Shows", False),
    "44": ("Trailers", False),
}
_OWNER = "UCBR8-60-B28hp2BmDPdntcQ"


def categories(query: Query) -> Any:
    """Answer `videoCategories.list`; raises ApiError."""
    parts(query, ("snippet",))
    if "id" in query:
        wanted = ids(query, "id")
        unknown = [name for name in wanted if name not in _CATEGORIES]
        if unknown:
            message = (
                "The video category identified by the <code>id</code> parameter cannot be found."
            )
            raise not_found("videoCategoryNotFound", message, "youtube.videoCategory", "id")
    elif query.get("regionCode"):
        wanted = list(_CATEGORIES)
    else:
        raise missing("id, regionCode")
    items = [_item(name) for name in wanted]
    answer = listing("youtube#videoCategoryListResponse", items, len(items), len(items))
    del answer["pageInfo"]
    return answer


def _item(name: str) -> dict[str, Any]:
    title, assignable = _CATEGORIES[name]
    snippet = {"title": title, "assignable": assignable, "channelId": _OWNER}
    return {
        "kind": "youtube#videoCategory",
        "etag": etag(name, snippet),
        "id": name,
        "snippet": snippet,
    }
