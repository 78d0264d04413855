"""Request headers that the load balancer writes for functions: the gateway (pulumi) sets them, collect reads them.

The values are the load balancer's own variables; a client that sends such a header itself is overruled. Source:
https://cloud.google.com/load-balancing/docs/https/custom-headers-global#variables. One header each, because a city's name
may have a comma; latitude and longitude are those of the city.
"""

from __future__ import annotations

COUNTRY = "x-client-region"
REGION = "x-client-region-subdivision"
CITY = "x-client-city"
COORDINATES = "x-client-city-lat-long"
LOAD_BALANCER_HEADERS = {
    COUNTRY: "{client_region}",
    REGION: "{client_region_subdivision}",
    CITY: "{client_city}",
    COORDINATES: "{client_city_lat_long}",
}
