"""How many copies over which paths: estimates of joint loss, alarms, and the policy per application. Pure."""
