"""What there is in pylm 0.14.4 and pylm-registry 0.4.14, by name."""

from __future__ import annotations

__all__ = ["ARGUMENTS", "CLASSES", "NAMES"]

#: Classes and modules with their methods, functions and attributes.
CLASSES = {
    "Client": "clean job eval set get delete uuid pipeline session_set db logger",
    "Server": "handle_stream echo start name cache logger message messages pipelined pull_socket"
    " pub_socket",
    "Pipeline": "sub_socket",
    "Sink": "sub_sockets poller",
    "Master": "",
    "Hub": "",
    "Worker": "start set get delete uuid name db push pull message",
    "MuxWorker": "start",
    "RepConnection": "",
    "SubConnection": "start cleanup",
    "PullConnection": "",
    "PushConnection": "",
    "PushBypassConnection": "",
    "PullBypassConnection": "",
    "HttpConnection": "start",
    "Router": "register_inbound register_outbound start cleanup",
    "Inbound": "scatter handle_feedback reply_feedback start cleanup",
    "Outbound": "scatter handle_feedback reply_feedback start cleanup",
    "BypassInbound": "recv start cleanup",
    "BypassOutbound": "send",
    "GatewayRouter": "start",
    "GatewayDealer": "start",
    "MyServer": "",
    "MyHandler": "path_parser do_GET do_POST gateway_router_address logger",
    "HttpGateway": "debug start",
    "ServerTemplate": "register_inbound register_outbound register_bypass preset_cache start router"
    " inbound_components outbound_components bypass_components",
    "BaseMaster": "change_payload scatter gather handle_stream",
    "RepService": "",
    "PullService": "",
    "PushService": "",
    "PubService": "handle_stream start",
    "WorkerPushService": "",
    "WorkerPullService": "",
    "PushPullService": "scatter handle_feedback reply_feedback start cleanup",
    "RepBypassService": "",
    "HttpService": "debug start",
    "CacheService": "recv",
    "EtcdError": "",
    "etcd.Client": "get list wait put delete",
    "EtcdPoller": "start",
    "DictDB": "__contains__ get set delete clean lock",
    "Request": "method data",
    "RequestHandler": "handle",
    "WSGIApplication": "__call__",
    "DebugServer": "serve_forever handle_request",
    "application": "make_app main",
    "runner": "parse_args message_hub message_pusher process_wrapper main context messages"
    " default_config",
    "LogClient": "send download view delete",
    "RegistryClient": "set_cluster cluster_list view_cluster_list view_cluster request"
    " cluster_status cluster_reset",
    "AdminHandler": "is_admin set_new_admin set_new_user set_delete_user get_user_list get_user"
    " set_deactivate_user set_activate_user get",
    "BaseHandler": "get_current_user",
    "ClusterHandler": "is_user is_owner set_new_cluster get_clusters_list set_cluster_reset"
    " set_cluster_delete get_cluster_status get_node_config get",
    "DashboardHandler": "get",
    "NewClusterHandler": "get post",
    "ViewClusterHandler": "get",
    "ViewLogsHandler": "get",
    "NewUserHandler": "get post",
    "ResetHandler": "get",
    "LogoutHandler": "get",
    "IndexHandler": "get",
    "LoginHandler": "get post",
    "LogsHandler": "get post",
    "ConfigManager": "dump_status load_status process_resource",
    "StaticHandler": "get_favicon get",
    "db.Handler": "sync_tables",
    "AdminLog": "",
    "ClusterLog": "to_dict",
    "User": "__repr__ to_dict to_json",
    "Cluster": "to_dict parsed_status",
    "echoer.py": "logger handler counter",
    "PalmMessage": "",
    "LogMessages": "",
    # Tables, with their columns.
    "users": "id name fullname when data key email active password admin",
    "clusters": "key alias when description status user_id",
    "cluster_logs": "id when text cluster",
    "admin_log": "id text when",
    # Programs, with their options.
    "pylm-registry": "--db --port --sync --debug --secret",
    "pylm-runner": "--registry --cluster --config",
    # Files, with their keys.
    "node file": "Name Ip Processors Ports_from",
    "cluster_structure": "sockets commands connections role replicas ready order",
    # Routes, with their parameters.
    "/login": "name password status wrongpassword usernotfound",
    "/new_cluster": "alias description",
    "/view_logs": "cluster fr to",
    "/new_user": "name email fullname password",
    "/logs": "GET POST cluster fr to when text",
    "/admin": "new_admin new_user user_list user activate_user deactivate_user delete_user",
    "/cluster": "Key",
    "method=new_cluster": "key description alias",
    "method=node_config": "cluster node",
    "templates": "index login dashboard new_cluster view_cluster view_logs new_user cluster",
}

#: Whatever else has a name.
NAMES = """
--name --pull --pub --wpush --wpull --db --server --function gunicorn __version__ C4.md [Section
[DEFAULT] Script _1 _2 Connected Role Replicas static/cluster.conf static/echo_cluster.conf
static/echoer.py static/node1.conf static/node2.conf socket_mapping socket_assignment
highest_port_used configured_resources ready / /favicon.ico /login /logout /dashboard /new_cluster
/view_cluster /view_logs /new_user /reset_cluster /cluster /logs /admin clusters_list
cluster_reset cluster_delete cluster_status messages.proto messages_pb2.py registry.proto
registry_pb2.py pipeline client stage function cache payload name db_address pull_address
pub_address sub_address sub_address_0 worker_pull_address worker_push_address inproc://inbound
inproc://outbound inproc://broker inproc://gateway_router inproc://hub /v2/keys recursive
waitIndex _get_config_from_master _sender _execution_handler _exec_function _make_handler
_translate_to_broker _translate_from_broker handle_feedback reply_feedback cleanup clean debug
zmq_context MAX_RETRIES STATIC_PATH ROOT_PATH password_backend new_admin_account admin_log request
DB Model cache_messages messages router_messages max_workers Pull Sub WorkerPull WorkerPush Pub
Cache single error parallel cache scatter gather logging mux_parallel pipeline tee stream sink
stream_sink master_pipeline server_hub template http gateway applications index introduction
hl-api-docstrings ll-api-docstrings examples registry beyond servers message features clients
workers hub parts microservice cluster_configuration server_configuration pipeline-tee
pipeline-stream pipeline-stream-sink core master_internals microservice_internals http_part
parallel_http
"""

#: Arguments by position, which scripts may give by name, too. ``job`` has one that was renamed.
ARGUMENTS = {
    "palm.clients.Client": "server_name db_address push_address sub_address session logging_level"
    " this_config",
    "palm.clients.Client.job": "function items messages cache",
    "palm.clients.Client.eval": "function payload messages cache",
    "palm.clients.Client.set": "value key",
    "palm.clients.Client.get": "key",
    "palm.clients.Client.delete": "key",
    "palm.servers.Server": "name db_address pull_address pub_address pipelined log_level messages",
    "palm.servers.Server.start": "cache_messages",
    "palm.servers.Server.handle_stream": "message",
    "palm.servers.Server.echo": "payload",
    "palm.servers.Pipeline": "name db_address sub_address pub_address previous to_client log_level"
    " messages",
    "palm.servers.Sink": "name db_address sub_addresses pub_address previous to_client log_level"
    " messages",
    "palm.servers.Master": "name pull_address pub_address worker_pull_address worker_push_address"
    " db_address pipelined cache log_level",
    "palm.servers.Hub": "name sub_address pub_address worker_pull_address worker_push_address"
    " db_address previous pipelined cache log_level",
    "palm.servers.Worker": "name db_address push_address pull_address log_level messages",
    "palm.servers.Worker.set": "value key",
    "palm.servers.Worker.get": "key",
    "palm.servers.Worker.delete": "key",
    "palm.servers.Master.change_payload": "message new_payload",
    "palm.servers.Master.scatter": "message",
    "palm.servers.Master.gather": "message",
    "palm.runtime.cache.Cache.set": "key value",
    "palm.runtime.cache.Cache.get": "key",
    "palm.runtime.cache.Cache.delete": "key",
    "palm.runtime.cache.Cache.clean": "prefix",
}
