"""TTG on Kubernetes: manifests rendered by pure functions, and the driving of ``kubectl``.

================ ====================================================================================
``layout``       what is wanted: the cluster's broker and image, the sweep's arguments and workers
``objects``      metadata, labels and the restricted security profile that every object shares
``brokers``      Redis (Valkey) and RabbitMQ with their configuration, storage and services
``jobs``         workers, coordinator, and the pod that reads a dataset back
``network``      who may talk to whom
``operators``    resources for KEDA, the Prometheus operator and the RabbitMQ cluster operator
``archive``      a user's files, packed and signed; what unpacks them where a pod begins
``code``         which files those are, and the ConfigMaps that carry them
``render``       everything above as the files of ``k8s/``, which a test holds equal
``kubectl``      the one place that starts ``kubectl``
``problems``     what is wrong with a cluster, in one line each
``fetch``        a dataset from the cluster's claim
``forward``      the cluster's broker at a port of this machine
``cluster``      up, run, status, logs, down: the verbs of ``ttg kube``
================ ====================================================================================
"""
