"""Connection transfer, the device's side: established connections of clients move to content proxies."""
