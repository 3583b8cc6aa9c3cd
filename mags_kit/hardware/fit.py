def fitted(config, count=1):
    return config
