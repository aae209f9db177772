"""A channel's main region: the country it states, or else the one its language points to."""

import warnings
from collections.abc import Sequence
from datetime import date, datetime
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

import holidays
import numpy as np

from feature_repo.transformations.sequences import FloatArray, IntArray

# A country of many time zones is told by the one in which most of its people live.
ZONES = {
    "AE": "Asia/Dubai", "AR": "America/Argentina/Buenos_Aires", "AT": "Europe/Vienna",
    "AU": "Australia/Sydney", "BD": "Asia/Dhaka", "BE": "Europe/Brussels",
    "BR": "America/Sao_Paulo",
    "CA": "America/Toronto", "CH": "Europe/Zurich", "CL": "America/Santiago",
    "CO": "America/Bogota", "CZ": "Europe/Prague", "DE": "Europe/Berlin",
    "DK": "Europe/Copenhagen", "EG": "Africa/Cairo", "ES": "Europe/Madrid", "FI": "Europe/Helsinki",
    "FR": "Europe/Paris", "GB": "Europe/London", "GR": "Europe/Athens", "HK": "Asia/Hong_Kong",
    "HU": "Europe/Budapest", "ID": "Asia/Jakarta", "IE": "Europe/Dublin", "IL": "Asia/Jerusalem",
    "IN": "Asia/Kolkata", "IT": "Europe/Rome", "JP": "Asia/Tokyo", "KE": "Africa/Nairobi",
    "KR": "Asia/Seoul", "MA": "Africa/Casablanca", "MX": "America/Mexico_City",
    "MY": "Asia/Kuala_Lumpur", "NG": "Africa/Lagos", "NL": "Europe/Amsterdam", "NO": "Europe/Oslo",
    "NZ": "Pacific/Auckland", "PE": "America/Lima", "PH": "Asia/Manila", "PK": "Asia/Karachi",
    "PL": "Europe/Warsaw", "PT": "Europe/Lisbon", "RO": "Europe/Bucharest", "RU": "Europe/Moscow",
    "SA": "Asia/Riyadh", "SE": "Europe/Stockholm", "SG": "Asia/Singapore", "TH": "Asia/Bangkok",
    "TR": "Europe/Istanbul", "TW": "Asia/Taipei", "US": "America/New_York",
    "VN": "Asia/Ho_Chi_Minh", "ZA": "Africa/Johannesburg",
}  # fmt: skip
_CODES = tuple(ZONES)
_NUMBERS = {code: float(number) for number, code in enumerate(_CODES)}

# Languages most of whose speakers on YouTube live in one country; English, Spanish and Arabic
# point nowhere.
_HOME_OF_LANGUAGE = {
    "fr": "FR", "de": "DE", "it": "IT", "pl": "PL", "tr": "TR", "ru": "RU", "hi": "IN", "ta": "IN",
    "te": "IN", "bn": "BD", "id": "ID", "vi": "VN", "th": "TH", "ja": "JP", "ko": "KR",
    "pt": "BR", "zh": "TW",
}  # fmt: skip

_HOLIDAY_YEARS = range(2005, 2041)


class LocalMoments(NamedTuple):
    """Moments as the clocks of a region show them; NaN without a region.

    Attributes:
        hour: 0 to 23.
        weekday: 0 is Monday.
        day: Days since the first of January of year 1, as `date.toordinal` counts them.
    """

    hour: FloatArray
    weekday: FloatArray
    day: FloatArray


def region_numbers(countries: Sequence[str | None]) -> FloatArray:
    """Give each ISO 3166 country code its number; NaN for none and for one not listed."""
    return np.array([_NUMBERS.get(code or "", np.nan) for code in countries], dtype=np.float64)


def region_codes(numbers: FloatArray) -> list[str | None]:
    """Give the ISO 3166 country code of each number; None for NaN."""
    return [None if np.isnan(number) else _CODES[int(number)] for number in numbers]


def main_region(country: FloatArray, languages: Sequence[str | None]) -> FloatArray:
    """Give the number of the region a video is made for.

    Args:
        country: Number of the country that the channel states, NaN where it states none.
        languages: ISO 639-1 code of the title's language, None where it is not known.

    Returns:
        The country stated, else the home of the language, else NaN.
    """
    homes = [_NUMBERS.get(_HOME_OF_LANGUAGE.get(code or "", ""), np.nan) for code in languages]
    return np.where(np.isnan(country), np.array(homes, dtype=np.float64), country)


def local_moments(moments: FloatArray, region: FloatArray) -> LocalMoments:
    """Read the clocks of regions at moments in epoch seconds."""
    parts = np.full((3, len(moments)), np.nan)
    for at in np.flatnonzero(~np.isnan(region)):
        local = datetime.fromtimestamp(float(moments[at]), _zone(int(region[at])))
        parts[:, at] = local.hour, local.weekday(), local.toordinal()
    return LocalMoments(*parts)


def days_to_holiday(day: FloatArray, region: FloatArray) -> FloatArray:
    """Give the days from a local day to the region's next public holiday, 0 on one; NaN in, out."""
    result = np.full(len(day), np.nan)
    for number in np.unique(region[~np.isnan(region)]):
        here = np.flatnonzero(region == number)
        free = _holidays(int(number))
        following = np.searchsorted(free, day[here], side="left")
        known = following < len(free)
        result[here[known]] = free[following[known]] - day[here[known]]
    return result


def is_weekend(weekday: FloatArray, region: FloatArray) -> FloatArray:
    """Tell whether a weekday is a day of rest in a region; NaN without one."""
    result = np.full(len(weekday), np.nan)
    for number in np.unique(region[~np.isnan(region)]):
        here = region == number
        result[here] = np.isin(weekday[here], _weekend(int(number)))
    return result


@cache
def _zone(number: int) -> ZoneInfo:
    return ZoneInfo(ZONES[_CODES[number]])


@cache
def _holidays(number: int) -> IntArray:
    """Give the public holidays of a region as sorted day numbers, from the kept library."""
    with warnings.catch_warnings():
        # Some countries are known for fewer years than others.
        warnings.simplefilter("ignore")
        free: list[date] = list(holidays.country_holidays(_CODES[number], years=_HOLIDAY_YEARS))
    return np.array(sorted(day.toordinal() for day in free), dtype=np.int64)


@cache
def _weekend(number: int) -> tuple[int, ...]:
    return tuple(sorted(holidays.country_holidays(_CODES[number]).weekend))
